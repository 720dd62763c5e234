/**
 * Feeds broken inputs to every reader until it crashes, hangs or throws what is not ours; after a build of
 * `@pvt/core`: `pnpm --filter @pvt/presets fuzz [INPUTS] [SEED] [TARGET]`, a million of each by default.
 */
import * as fc from 'fast-check';
import { targets, tryOne } from './targets.ts';

const [inputs = '1000000', seed = String(Date.now() % 2 ** 31), only] = process.argv.slice(2);
const count = Number(inputs);
for (const target of targets.filter(({ name }) => only === undefined || name === only)) {
  const start = performance.now();
  let slowest = 0;
  let tried = 0;
  const report = () => process.stderr.write(`\r${target.name}: ${tried} of ${count} `);
  fc.assert(
    fc.property(target.inputs, (bytes) => {
      slowest = Math.max(slowest, tryOne(target, bytes));
      if (slowest > 2000)
        throw new Error(
          `${target.name}: ${slowest} ms for ${Buffer.from(bytes).toString('base64').slice(0, 4000)}`,
        );
      if (++tried % 50_000 === 0 && process.stderr.isTTY) report();
    }),
    { numRuns: count, seed: Number(seed) },
  );
  process.stdout.write(
    `${target.name}: ${tried} inputs, seed ${seed}, ${((performance.now() - start) / 1000).toFixed(0)} s, ` +
      `slowest ${slowest.toFixed(0)} ms, ` +
      `${Math.round(process.resourceUsage().maxRSS / 1024)} MB at most\n`,
  );
}
