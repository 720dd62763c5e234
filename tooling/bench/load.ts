/**
 * Measures what loading pvt_v2_b0 (14.7 MB of float32 safetensors, a local file) into wasm tensors takes
 * beyond reading the file, in time and in memory: `npm run build && npx tsx tooling/bench/load.ts [--rounds
 * 20] [--json out/load.json]`. Memory is the growth of the resident set at the first load of the model, the
 * tensors included; times are those of reading and loading in turns. Both are of a process that has loaded a
 * smaller model before.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createPvt, pvtConfig, randomInit, scoped } from '@pvt/core';
import { createClassificationHead } from '@pvt/heads';
import { convertCheckpoint, getModel, loadCheckpoint } from '@pvt/presets';
import { median, useWasm } from './shared.ts';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '20' }, json: { type: 'string' }, once: { type: 'string' } },
});

/** Of the peak over the file's size, and of the time over that of reading the file. */
const limits = { memory: 1.5, time: 3 };

function sourceFile(config: ReturnType<typeof pvtConfig>): Uint8Array {
  return convertCheckpoint({ config, source: randomInit(1) }, { to: 'timm' });
}

async function load(path: string) {
  const { config, source } = await loadCheckpoint(path);
  return [
    createPvt(config, source),
    createClassificationHead(
      { channels: config.dims.at(-1)!, classes: config.classes },
      scoped(source, 'head'),
    ),
  ];
}

/** Resident set in bytes: now, and at most since the last reset. Linux only. */
const resident = (field: 'VmRSS' | 'VmHWM'): number =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;

interface Once {
  readonly peak: number;
  readonly cold: number;
  readonly read: readonly number[];
  readonly load: readonly number[];
}

const timed = async (work: () => unknown): Promise<number> => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

async function measure(path: string, rounds: number): Promise<Once> {
  await useWasm();
  const unload = async (models: ReturnType<typeof load>) => {
    for (const model of await models) model.dispose();
  };
  // A sixteenth of the model goes first, until its code is compiled: what V8 needs for that, about 6 MB, does
  // not grow with the file.
  for (let i = 0; i < 12; i++) await unload(load(`${path}.small.safetensors`));
  writeFileSync('/proc/self/clear_refs', '5');
  const before = resident('VmRSS');
  let models = load(path);
  const cold = await timed(() => models);
  const peak = resident('VmHWM') - before;
  const times = { read: [] as number[], load: [] as number[] };
  for (let round = -5; round < rounds; round++) {
    await unload(models);
    const read = await timed(() => readFileSync(path));
    const loading = await timed(() => (models = load(path)));
    if (round < 0) continue;
    times.read.push(read);
    times.load.push(loading);
  }
  await unload(models);
  return { peak, cold, ...times };
}

if (options.once !== undefined) {
  console.log(JSON.stringify(await measure(options.once, Number(options.rounds))));
  process.exit(0);
}

const folder = mkdtempSync(join(tmpdir(), 'pvt-load-'));
try {
  const path = join(folder, 'model.safetensors');
  const config = pvtConfig(getModel('pvt_v2_b0').config);
  const bytes = sourceFile(config);
  writeFileSync(path, bytes);
  writeFileSync(
    `${path}.small.safetensors`,
    sourceFile(
      pvtConfig({
        ...config,
        dims: config.dims.map((width) => width / 4),
        heads: [1, 2, 5, 8],
        classes: 100,
      }),
    ),
  );
  const processes = Array.from({ length: 5 }, () => {
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [...process.execArgv, fileURLToPath(import.meta.url), '--once', path, '--rounds', options.rounds],
      { encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout.trim().split('\n').at(-1)!) as Once;
  });
  const all = (field: 'read' | 'load') => processes.flatMap((once) => once[field]);
  const [readMs, loadMs, coldMs, peak] = [
    median(all('read')),
    median(all('load')),
    median(processes.map(({ cold }) => cold)),
    median(processes.map((once) => once.peak)),
  ];
  const fastest = { readMs: Math.min(...all('read')), loadMs: Math.min(...all('load')) };
  const result = {
    file: bytes.length,
    readMs,
    loadMs,
    coldMs,
    fastest,
    time: loadMs / readMs,
    peak,
    memory: peak / bytes.length,
  };
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  console.log(
    [
      `file    ${(bytes.length / 1e6).toFixed(2)} MB; ` +
        `${processes.length} processes of ${options.rounds} rounds`,
      `time    read ${ms(readMs)}, loaded ${ms(loadMs)}, ${result.time.toFixed(2)} times as long ` +
        `(limit ${limits.time}); fastest ${ms(fastest.readMs)} and ${ms(fastest.loadMs)}; ` +
        `the first load ${ms(coldMs)}`,
      `memory  peak ${(peak / 1e6).toFixed(1)} MB, tensors included: ` +
        `${result.memory.toFixed(2)} times the file (limit ${limits.memory})`,
    ].join('\n'),
  );
  if (options.json !== undefined) {
    mkdirSync(dirname(resolve(options.json)), { recursive: true });
    writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  process.exitCode = result.memory <= limits.memory && result.time <= limits.time ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}
