/**
 * Classifies the 10,000 CIFAR-10 test images with the float32 checkpoint, with the float16 one of
 * `@pvt/checkpoints`, and with both in runners of `@pvt/adapter-wasm` whose weights are float16 and int8, and
 * compares logits, predictions and accuracy with the reference implementation's: `pnpm --filter @pvt/golden
 * cifar10 CIFAR10_TAR_GZ CHECKPOINT_FOLDER`. The archive holds `test/CLASS/*.jpg`; the folder holds
 * `pvt_v2_nano_cifar10.safetensors` and `samples.safetensors`.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createRunner, type WeightFormat } from '@pvt/adapter-wasm/runner';
import { preprocess } from '@pvt/adapter-image';
import { readImage } from '@pvt/adapter-image';
import { checkpoints } from '@pvt/checkpoints';
import { createPvt, scoped, type Image } from '@pvt/core';
import { createClassificationHead } from '@pvt/heads';
import { parseSafetensors, readCheckpoint, toFloat32 } from '@pvt/presets';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { list } from 'tar';

const [archive, folder] = process.argv.slice(2);
if (archive === undefined || folder === undefined) {
  console.error(
    'cifar10: expected an archive and a folder of checkpoints, got too few arguments; ' +
      'call it as cifar10 CIFAR10_TAR_GZ CHECKPOINT_FOLDER.',
  );
  process.exit(2);
}
setWasmPaths(
  `${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`,
);
await tf.setBackend('wasm');

const demo = checkpoints['pvt_v2_nano.cifar10'];

async function load(path: string | URL, weights?: WeightFormat) {
  const { config, source } = readCheckpoint(readFileSync(path));
  const backbone = createPvt(config, source);
  const head = createClassificationHead(
    { channels: config.dims.at(-1)!, classes: config.classes },
    scoped(source, 'head'),
  );
  const forward = (input: tf.Tensor4D) => tf.tidy(() => head.forward(backbone.forward(input).embedding));
  const runner = weights && (await createRunner(forward, { weights }));
  return async (images: readonly Image[]): Promise<Float32Array> => {
    const input = preprocess(images, demo.preprocessing);
    const logits = runner ? await runner.run(input) : forward(input);
    const values = logits.dataSync<'float32'>();
    tf.dispose([input, logits]);
    return values;
  };
}
const float32 = join(folder, 'pvt_v2_nano_cifar10.safetensors');
const models = {
  float32: await load(float32),
  float16: await load(demo.url),
  'float16 in a runner': await load(demo.url, 'float16'),
  'float32 in a runner, weights in int8': await load(float32, 'int8'),
};
const names = Object.keys(models) as (keyof typeof models)[];

const { tensors } = parseSafetensors(readFileSync(join(folder, 'samples.safetensors')));
const images = tensors.get('images')!;
const bytes = 32 * 32 * 3;
const samples = Array.from({ length: images.shape[0]! }, (_, i) => ({
  width: 32,
  height: 32,
  data: images.bytes.slice(i * bytes, (i + 1) * bytes),
}));
const reference = toFloat32(tensors.get('logits')!);
for (const name of names) {
  const logits = await models[name](samples);
  const largest = Math.max(...logits.map((value, i) => Math.abs(value - reference[i]!)));
  console.log(
    `${name}: largest difference of ${samples.length} x 10 logits from the reference: ` +
      largest.toExponential(2),
  );
}

const files = new Map<string, Buffer>();
await list({
  file: archive,
  filter: (path) => /(^|\/)test\/[^/]+\/[^/]+\.jpg$/.test(path),
  onReadEntry: (entry) => {
    const chunks: Buffer[] = [];
    entry.on('data', (chunk: Buffer) => chunks.push(chunk));
    entry.on('end', () => files.set(entry.path.replace(/^.*?test\//, ''), Buffer.concat(chunks)));
  },
});
// The reference's order: classes alphabetically, then file names.
const paths = [...files.keys()].sort();
const predicted = tensors.get('predictions_of_all_10000')!.bytes;
if (paths.length !== predicted.length) {
  console.error(
    `cifar10: expected ${predicted.length} test images in ${archive}, got ${paths.length}; ` +
      'is it the whole archive?',
  );
  process.exit(1);
}

const right: Record<string, number> = { reference: 0 };
const same: Record<string, number> = {};
const batch = 100;
const started = performance.now();
for (let start = 0; start < paths.length; start += batch) {
  const some = paths.slice(start, start + batch);
  const images = await Promise.all(some.map((path) => readImage(files.get(path)!)));
  const labels = some.map((path) =>
    (demo.labels as readonly string[]).indexOf(path.slice(0, path.indexOf('/'))),
  );
  for (const name of names) {
    const logits = await models[name](images);
    for (const [i, label] of labels.entries()) {
      const row = logits.subarray(i * 10, i * 10 + 10);
      const predictedLabel = row.indexOf(Math.max(...row));
      if (predictedLabel === label) right[name] = (right[name] ?? 0) + 1;
      if (predictedLabel === predicted[start + i]) same[name] = (same[name] ?? 0) + 1;
    }
  }
  for (const [i, label] of labels.entries()) if (predicted[start + i] === label) right['reference']!++;
  const done = start + some.length;
  const left = ((performance.now() - started) / done) * (paths.length - done);
  if (process.stderr.isTTY)
    process.stderr.write(`\r${done} of ${paths.length}, ${Math.round(left / 1000)} s left `);
}
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
const percent = (count: number) => `${((100 * count) / paths.length).toFixed(2)} %`;
console.log(`reference: top-1 ${percent(right['reference']!)}`);
for (const name of names)
  console.log(
    `${name}: top-1 ${percent(right[name] ?? 0)}; ` +
      `the reference's prediction on ${same[name] ?? 0} of ${paths.length}`,
  );
console.log(`${Math.round((performance.now() - started) / 1000)} s for all`);
