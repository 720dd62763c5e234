import { describe, expect, it } from 'vitest';
import { constantSchedule, warmupCosine } from './schedule.ts';

describe('schedules', () => {
  it('rise linearly and fall along half a cosine', () => {
    const schedule = warmupCosine({ warmup: 0.2, start: 0.1, end: 0.01 });
    const expected = [
      [0, 0.1],
      [0.1, 0.55],
      [0.2, 1],
      [0.6, 0.505],
      [1, 0.01],
      [0.4, 0.01 + (0.99 * (1 + Math.SQRT1_2)) / 2],
    ] as const;
    for (const [progress, factor] of expected) expect(schedule(progress)).toBeCloseTo(factor, 12);
  });

  it('begin at the full rate without a warm-up', () => expect(warmupCosine({ warmup: 0 })(0)).toBe(1));

  it('may be constant', () => expect([0, 0.5, 1].map(constantSchedule)).toEqual([1, 1, 1]));

  it('refuse a warm-up of the whole run', () =>
    expect(() => warmupCosine({ warmup: 1 })).toThrow(/share of the run/));
});
