/**
 * Reads every file of a folder of torch checkpoints and checks what its `index.json` says of it: logits on
 * generated input, what does not fit, and that hostile files are refused in time and memory: `pnpm --filter
 * @pvt/golden torch FOLDER`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { CheckpointError, createPvt, pvtConfig, scoped, type PvtConfigInput } from '@pvt/core';
import { createClassificationHead } from '@pvt/heads';
import { checkCompatibility, checkpointSpec, readCheckpoint, renderCompatibility } from '@pvt/presets';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { generate } from './generator.ts';

interface Entry {
  readonly variant: string;
  readonly seed: number;
  readonly logits: readonly number[] | null;
  readonly config: { readonly dims: number[]; readonly depths: number[]; readonly num_classes: number };
}

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('torch: expected a folder with an index.json, got nothing; call it as torch FOLDER.');
  process.exit(2);
}
setWasmPaths(
  `${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`,
);
await tf.setBackend('wasm');
const { files, malicious } = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as {
  files: Record<string, Entry>;
  malicious: Record<string, string>;
};
let failures = 0;
const verdict = (fine: boolean, line: string) => {
  if (!fine) failures++;
  console.log(`${fine ? 'ok  ' : 'FAIL'} ${line}`);
};

/** What the report on a file without logits must say. */
const reports: Readonly<Record<string, RegExp>> = {
  'v2_mm_state_dict.pth': /^loaded 100 of 102 parameters\nmissing 2: head\.weight, head\.bias$/,
  'v2_head_1000.pth': new RegExp(
    String.raw`mismatched 2: head\.weight expected \[10, 64\] but found \[1000, 64\], ` +
      String.raw`head\.bias expected \[10\] but found \[1000\]$`,
  ),
  'v2_missing_and_unexpected.pth': /missing 1: .*\nunexpected 1: /,
  'v2_wrong_shape.pth': /mismatched 1: /,
  'v2_nan.pth': /not finite 1: /,
};

for (const [name, { variant, seed, logits, config: wanted }] of Object.entries(files)) {
  const config = pvtConfig({
    version: variant === 'v1' ? 'v1' : 'v2',
    dims: wanted.dims,
    depths: wanted.depths,
    classes: wanted.num_classes,
    imageSize: [64, 64],
    ...(variant === 'v2 linear' && { linear: true }),
  } as PvtConfigInput);
  const checkpoint = readCheckpoint(
    readFileSync(join(folder, name)),
    name.includes('wrong') || name.includes('missing') || name.includes('head') || name.includes('mm')
      ? { config }
      : {},
  );
  const report = renderCompatibility(checkCompatibility(checkpointSpec(config), checkpoint));
  if (logits === null) {
    verdict(reports[name]?.test(report) ?? false, `${name}: ${report.replaceAll('\n', '; ')}`);
    continue;
  }
  const before = tf.memory().numTensors;
  const backbone = createPvt(checkpoint.config, checkpoint.source);
  const head = createClassificationHead(
    { channels: wanted.dims.at(-1)!, classes: wanted.num_classes },
    scoped(checkpoint.source, 'head'),
  );
  const found = tf.tidy(() => {
    const input = tf.transpose(
      tf.tensor(generate(seed, 'input', [1, 3, 64, 64], new Map()), [1, 3, 64, 64]),
      [0, 2, 3, 1],
    ) as tf.Tensor4D;
    return head.forward(backbone.forward(input).embedding).dataSync();
  });
  backbone.dispose();
  head.dispose();
  const difference = Math.max(...logits.map((value, i) => Math.abs(value - found[i]!)));
  const tolerance = name.includes('half') ? 2e-2 : 2e-5;
  verdict(
    difference <= tolerance && tf.memory().numTensors === before,
    `${name}: ${checkpoint.format}, ${checkpoint.naming} ${config.version}, ` +
      `logits within ${difference.toExponential(1)}`,
  );
}

const before = readdirSync('.').join();
for (const [name, what] of Object.entries(malicious)) {
  const bytes = readFileSync(join(folder, 'malicious', name));
  const memory = process.resourceUsage().maxRSS;
  const start = performance.now();
  let outcome = 'accepted';
  let typed = false;
  try {
    readCheckpoint(bytes);
  } catch (error) {
    typed = error instanceof CheckpointError;
    outcome = typed ? `${(error as CheckpointError).code}: ${(error as Error).message}` : String(error);
  }
  const [ms, megabytes] = [performance.now() - start, (process.resourceUsage().maxRSS - memory) / 1024];
  verdict(
    typed && ms < 1000 && megabytes < 200 && readdirSync('.').join() === before,
    `${name} (${what}), ${ms.toFixed(1)} ms, ${megabytes.toFixed(0)} MB: ${outcome}`,
  );
}
console.log(failures === 0 ? 'All as the index says.' : `${failures} not as the index says.`);
process.exit(failures === 0 ? 0 : 1);
