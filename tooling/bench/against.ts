/**
 * Times this checkout's built packages beside another checkout's, in turns: pvt_v2_b0 and pvt_v2_b2, in the
 * runner of
 * @pvt/adapter-wasm and in tfjs with its kernels: `npm run bench -- --against ../base`.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  deviation,
  eachRound,
  inFile,
  median,
  pause,
  renderTable,
  size,
  sleep,
  startProgram,
  tolerance,
  workOf,
  type Work,
} from './shared.ts';

const here = resolve(import.meta.dirname, '../..');

/** One model in one mode, in a process of its own for each checkout: two copies of tfjs cannot share one. */
async function compare(
  [weights, image]: readonly [string, string],
  mode: 'runner' | 'kernels',
  { checkouts, rounds, threads }: { checkouts: readonly string[]; rounds: number; threads: number },
) {
  const script = join(import.meta.dirname, 'forward.mjs');
  const programs = checkouts.map((checkout) =>
    startProgram(process.execPath, [script, checkout, weights, image, mode, String(threads)]),
  );
  const logits: number[][] = [];
  for (const { ask } of programs) logits.push((await ask())['logits'] as number[]);
  const times = programs.map((): number[] => []);
  await eachRound(rounds, async (round, counted) => {
    // Each goes first in every other round.
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) {
      await sleep(pause);
      await programs[i]!.ask({});
      const { ms } = await programs[i]!.ask({});
      if (counted) times[i]!.push(ms as number);
    }
  });
  for (const { close } of programs) close();
  const [before, after] = times as [number[], number[]];
  return { mode, before, after, difference: deviation(logits[1]!, logits[0]!) };
}

/** @returns whether both checkouts compute the same logits */
export async function benchAgainst(other: string, rounds: number, threads: number): Promise<boolean> {
  const checkouts = [resolve(other), here];
  for (const checkout of checkouts) {
    if (existsSync(join(checkout, 'packages/adapters/wasm/dist'))) continue;
    console.error(
      `bench: expected built packages in ${checkout}, got none; run "npm run build" there first.`,
    );
    process.exit(2);
  }
  console.log(`${here} against ${checkouts[0]}: ${size}x${size}, ${threads} thread(s), ${rounds} rounds`);
  let same = true;
  for (const name of ['pvt_v2_b0', 'pvt_v2_b2'] satisfies Work['name'][]) {
    const { state, image } = workOf(name);
    const input = new Map([['input', { shape: [1, 3, size, size], values: image }]]);
    const results = await inFile(state, (weights) =>
      inFile(input, async (path) => [
        await compare([weights, path], 'runner', { checkouts, rounds, threads }),
        await compare([weights, path], 'kernels', { checkouts, rounds, threads }),
      ]),
    );
    const rows = results.map(({ mode, before, after, difference }) => [
      mode,
      ...[median(before), Math.min(...before), median(after), Math.min(...after)].map((ms) => ms.toFixed(1)),
      (median(after) / median(before)).toFixed(3),
      difference.toExponential(1),
    ]);
    const titles = ['', 'other, median', 'fastest', 'this, median', 'fastest', 'this / other', 'Δ logits'];
    console.log(`\n${name}\n${renderTable([titles, ...rows])}`);
    same &&= results.every(({ difference }) => difference <= tolerance);
  }
  return same;
}
