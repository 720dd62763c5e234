/**
 * Makes `fixtures/heads/*.json` from a folder of reference numbers: `pnpm --filter @pvt/golden fixtures:heads
 * FOLDER`. The folder is only needed to make them anew; the tests read the fixtures.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSafetensors, toFloat32 } from '@pvt/presets';
import { toBase64, type GoldenTensor } from './golden.ts';
import type { HeadGolden } from './heads.ts';

const [folder, samples = '256'] = process.argv.slice(2);
if (folder === undefined) {
  console.error(
    'fixtures: expected the folder of reference numbers, got no argument; call it as fixtures:heads FOLDER.',
  );
  process.exit(2);
}
const target = join(import.meta.dirname, 'fixtures', 'heads');
mkdirSync(target, { recursive: true });

/**
 * Some of the values, and moments of all. The step is odd so as not to fall in step with rows and channels.
 */
function sampled(values: Float32Array, shape: readonly number[]): GoldenTensor {
  const step = Math.floor(values.length / Number(samples)) | 1;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return {
    shape,
    step,
    samples: toBase64(values.filter((_, i) => i % step === 0)),
    mean,
    std: Math.sqrt(variance),
    maxAbs: values.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
  };
}

interface Stored {
  readonly shape: number[];
  readonly sample_step: number;
  readonly samples: number[];
  readonly mean: number;
  readonly std: number;
  readonly max_abs: number;
}
const fromStored = ({ shape, sample_step, samples, mean, std, max_abs }: Stored): GoldenTensor => ({
  shape,
  step: sample_step,
  samples: toBase64(Float32Array.from(samples)),
  mean,
  std,
  maxAbs: max_abs,
});
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

const entries: {
  file: string;
  implementation: string;
  seed: number;
  input_shape: number[] | number[][];
  overrides?: HeadGolden['overrides'];
  upsampled_logits?: Stored;
}[] = json(join(folder, 'index.json')).files;
const names = new Set(readdirSync(join(folder, 'heads')).map((file) => file.replace(/\.[a-z]+$/, '')));

for (const name of names) {
  const path = (extension: string) => join(folder, 'heads', `${name}.${extension}`);
  const entry = entries.find(({ file }) => file.startsWith(`heads/${name}.`))!;
  const outputs: Record<string, GoldenTensor> = {};
  let labels: string | undefined;
  const details = existsSync(path('json')) ? json(path('json')) : {};
  for (const [key, stored] of Object.entries({
    ...details.outputs,
    ...(details.transformed && { transformed: details.transformed }),
    ...(entry.upsampled_logits && { upsampled: entry.upsampled_logits }),
  })) {
    outputs[key] = fromStored(stored as Stored);
  }
  if (existsSync(path('safetensors'))) {
    for (const [key, tensor] of parseSafetensors(readFileSync(path('safetensors'))).tensors) {
      if (key === 'argmax_after_bilinear_upsample') labels = Buffer.from(tensor.bytes).toString('base64');
      else if (!key.startsWith('detections/')) outputs[key] = sampled(toFloat32(tensor), tensor.shape);
    }
  }
  const shapes = Array.isArray(entry.input_shape[0])
    ? (entry.input_shape as number[][])
    : [entry.input_shape as number[]];
  const golden: HeadGolden = {
    name,
    implementation: entry.implementation,
    seed: entry.seed,
    ...(entry.overrides && {
      overrides: details.input?.override
        ? { ...entry.overrides, input: details.input.override }
        : entry.overrides,
    }),
    inputs: Object.fromEntries(shapes.map((shape, i) => [shapes.length === 1 ? 'input' : `feat${i}`, shape])),
    outputs,
    ...(details.detections && { detections: details.detections }),
    ...(labels !== undefined && { labels }),
  };
  writeFileSync(join(target, `${name}.json`), `${JSON.stringify(golden)}\n`);
}
console.log(`${names.size} fixtures written`);
