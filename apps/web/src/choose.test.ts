import { describe, expect, it } from 'vitest';
import { choose, estimate, gain } from './choose.ts';
import type { BackendName, Check } from './protocol.ts';

const check = (backend: BackendName, small: number, large: number | undefined, right = true): Check => ({
  backend,
  start: 0,
  error: 0,
  right,
  small: { macs: 1e6, milliseconds: small },
  ...(large !== undefined && { large: { macs: 11e6, milliseconds: large } }),
});

describe('estimate', () => {
  it('goes through both probes', () => {
    expect(estimate(check('wasm', 2, 12), 1e6)).toBeCloseTo(2, 9);
    expect(estimate(check('wasm', 2, 12), 11e6)).toBeCloseTo(12, 9);
    expect(estimate(check('wasm', 2, 12), 21e6)).toBeCloseTo(22, 9);
  });

  it('never promises that more work takes less time, and nothing of what was not timed', () => {
    expect(estimate(check('webgl', 9, 8), 1e9)).toBe(9);
    expect(estimate(check('webgl', 9, undefined), 1e9)).toBe(Infinity);
  });
});

describe('choose', () => {
  const wasm = check('wasm', 2, 22);
  const webgl = check('webgl', 8, 10);

  it('takes the processor for little work and the graphics card for much', () => {
    expect(choose([wasm, webgl], 2e6)).toBe('wasm');
    expect(choose([wasm, webgl], 500e6)).toBe('webgl');
  });

  it('never takes one that computes wrongly, however fast', () => {
    expect(choose([wasm, check('webgpu', 0.1, 0.2, false)], 500e6)).toBe('wasm');
    expect(choose([check('webgpu', 0.1, 0.2, false)], 500e6)).toBe(undefined);
  });

  it('stays with one that is only a little slower', () => {
    expect(choose([wasm, check('webgl', 2 / (gain - 0.1), 22 / (gain - 0.1))], 2e6, 'wasm')).toBe('wasm');
    expect(choose([wasm, check('webgl', 2 / (gain + 0.1), 22 / (gain + 0.1))], 2e6, 'wasm')).toBe('webgl');
  });
});
