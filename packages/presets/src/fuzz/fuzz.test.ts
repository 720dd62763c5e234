import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { targets, tryOne } from './targets.ts';

// A short run of what `pnpm --filter @pvt/presets fuzz` does a million times.
it.each(targets)('$name: a thousand broken inputs end in an error of ours, or in none', (target) => {
  const prototype = Object.getOwnPropertyNames(Object.prototype).join();
  fc.assert(
    fc.property(target.inputs, (bytes) => {
      expect(tryOne(target, bytes)).toBeLessThan(2000);
    }),
    { numRuns: 1000, seed: 20211 },
  );
  expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(prototype);
});
