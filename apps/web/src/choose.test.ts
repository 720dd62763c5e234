import { describe, expect, it } from 'vitest';
import { estimateMilliseconds, fastestBackend, switchFactor } from './choose.ts';
import type { BackendName, Check } from './protocol.ts';

const check = (backend: BackendName, small: number, large: number | undefined, passed = true): Check => ({
  backend,
  start: 0,
  error: 0,
  passed,
  small: { macs: 1e6, milliseconds: small },
  ...(large !== undefined && { large: { macs: 11e6, milliseconds: large } }),
});

describe('estimateMilliseconds', () => {
  it('agrees with both probes and extrapolates from them', () => {
    expect(estimateMilliseconds(check('wasm', 2, 12), 1e6)).toBeCloseTo(2, 9);
    expect(estimateMilliseconds(check('wasm', 2, 12), 11e6)).toBeCloseTo(12, 9);
    expect(estimateMilliseconds(check('wasm', 2, 12), 21e6)).toBeCloseTo(22, 9);
  });

  it('never decreases with more work, and is infinite for a backend that was not timed', () => {
    expect(estimateMilliseconds(check('webgl', 9, 8), 1e9)).toBe(9);
    expect(estimateMilliseconds(check('webgl', 9, undefined), 1e9)).toBe(Infinity);
  });
});

describe('fastestBackend', () => {
  const wasm = check('wasm', 2, 22);
  const webgl = check('webgl', 8, 10);

  it('chooses the CPU for little work and the GPU for much', () => {
    expect(fastestBackend([wasm, webgl], 2e6)).toBe('wasm');
    expect(fastestBackend([wasm, webgl], 500e6)).toBe('webgl');
  });

  it('never chooses a backend that failed its check, however fast', () => {
    expect(fastestBackend([wasm, check('webgpu', 0.1, 0.2, false)], 500e6)).toBe('wasm');
    expect(fastestBackend([check('webgpu', 0.1, 0.2, false)], 500e6)).toBe(undefined);
  });

  it('keeps the current backend if it is only a little slower', () => {
    expect(
      fastestBackend(
        [wasm, check('webgl', 2 / (switchFactor - 0.1), 22 / (switchFactor - 0.1))],
        2e6,
        'wasm',
      ),
    ).toBe('wasm');
    expect(
      fastestBackend(
        [wasm, check('webgl', 2 / (switchFactor + 0.1), 22 / (switchFactor + 0.1))],
        2e6,
        'wasm',
      ),
    ).toBe('webgl');
  });
});
