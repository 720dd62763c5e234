/**
 * Makes `fixtures/*.json` from a folder of reference numbers: `pnpm --filter @pvt/golden fixtures FOLDER`.
 * The folder is only needed to make them anew; the tests read the fixtures.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSafetensors, toFloat32 } from '@pvt/presets';
import { toBase64, type Golden, type GoldenTensor } from './golden.ts';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error(
    'fixtures: expected the folder of reference numbers, got no argument; call it as fixtures FOLDER.',
  );
  process.exit(2);
}
const target = join(import.meta.dirname, 'fixtures');
mkdirSync(target, { recursive: true });

interface Stored {
  shape: number[];
  sample_step: number;
  samples: number[];
  mean: number;
  std: number;
  max_abs: number;
}

const fromStored = ({ shape, sample_step, samples, mean, std, max_abs }: Stored): GoldenTensor => ({
  shape,
  step: sample_step,
  samples: toBase64(Float32Array.from(samples)),
  mean,
  std,
  maxAbs: max_abs,
});
const all = (outputs: Record<string, Stored>): Record<string, GoldenTensor> =>
  Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, fromStored(tensor)]));

const save = (golden: Golden): void =>
  writeFileSync(join(target, `${golden.name}.json`), `${JSON.stringify(golden)}\n`);

const depths: Record<string, number[]> = {
  tiny: [2, 2, 2, 2],
  small: [3, 4, 6, 3],
  medium: [3, 4, 18, 3],
  b0: [2, 2, 2, 2],
  b1: [2, 2, 2, 2],
  b2: [3, 4, 6, 3],
  b3: [3, 4, 18, 3],
};

function configOf(model: string): Golden['config'] {
  const [, version, variant, linear] = /^(?:hf_)?pvt_(v2_)?([a-z0-9]+)(_li)?$/.exec(model)!;
  const dims = variant === 'b0' ? [32, 64, 160, 256] : [64, 128, 320, 512];
  const shared = { dims, depths: depths[variant!]! };
  return version === undefined
    ? { version: 'v1', ...shared }
    : { version: 'v2', ...shared, linear: linear !== undefined };
}

for (const [subfolder, naming] of [
  ['official', 'official'],
  ['timm', 'timm'],
  ['hf', 'huggingFace'],
] as const) {
  for (const file of readdirSync(join(folder, subfolder))) {
    const stored = JSON.parse(readFileSync(join(folder, subfolder, file), 'utf8'));
    const eps = naming === 'huggingFace' ? { eps: { block: 1e-6, patchEmbed: 1e-6, reduction: 1e-6 } } : {};
    save({
      name: `${subfolder}_${file.replace('.json', '')}`,
      implementation: stored.implementation,
      naming,
      config: { ...configOf(stored.model), ...eps },
      seed: stored.seed,
      input: stored.input.shape,
      outputs: all(stored.outputs),
      ...(stored.detection_backbone && { dense: all(stored.detection_backbone.outputs) }),
    });
  }
}

/** The config of a small model, from the official code's arguments. */
const smallConfig = (
  version: 'v1' | 'v2',
  config: Record<'embed_dims' | 'depths' | 'num_heads' | 'mlp_ratios' | 'sr_ratios', number[]> &
    Record<'img_size' | 'num_classes', number>,
  linear: boolean,
): Golden['config'] => ({
  version,
  dims: config.embed_dims,
  depths: config.depths,
  heads: config.num_heads,
  mlpRatios: config.mlp_ratios,
  reductions: config.sr_ratios,
  imageSize: [config.img_size, config.img_size],
  classes: config.num_classes,
  ...(version === 'v2' && { linear }),
});

for (const file of readdirSync(join(folder, 'custom'))) {
  const { tensors, metadata } = parseSafetensors(readFileSync(join(folder, 'custom', file)));
  const config = JSON.parse(metadata.get('cfg')!);
  const tensorsOf = (prefix: string): Record<string, GoldenTensor> =>
    Object.fromEntries(
      [...tensors]
        .filter(([name]) => name.startsWith(prefix) && !name.startsWith('out/module.'))
        .map(([name, tensor]) => [
          name.slice(prefix.length),
          { shape: tensor.shape, step: 1, samples: toBase64(toFloat32(tensor)) },
        ]),
    );
  const dense = tensorsOf('det/');
  const gain = Number(metadata.get('norm_gain'));
  const version = metadata.get('model') as 'v1' | 'v2';
  save({
    name: `custom_${file.replace('.safetensors', '')}`,
    implementation: 'whai362/PVT@57e2dfa',
    naming: 'official',
    config: smallConfig(version, config, metadata.get('linear') === 'True'),
    seed: Number(metadata.get('seed')),
    input: tensors.get('input')!.shape as unknown as Golden['input'],
    ...(Number.isFinite(gain) && { normOverride: { gain } }),
    outputs: tensorsOf('out/'),
    ...(Object.keys(dense).length > 0 && { dense }),
  });
}
for (const file of readdirSync(join(folder, 'grad')).filter((name) => name.endsWith('.json'))) {
  const stored = JSON.parse(readFileSync(join(folder, 'grad', file), 'utf8'));
  const { config } = stored;
  const [, version, linear] = /^(v[12])(li)?_/.exec(file)!;
  save({
    name: `grad_${file.replace('.json', '')}`,
    implementation: 'whai362/PVT@57e2dfa + torch autograd',
    naming: 'official',
    config: smallConfig(version as 'v1' | 'v2', config, linear !== undefined),
    seed: stored.seed,
    input: stored.input_shape,
    outputs: {},
    gradients: {
      target: stored.target_class,
      loss: stored.loss,
      params: all(stored.grad_stats),
      input: fromStored(stored.input_grad),
    },
    trajectories: Object.fromEntries(
      Object.entries(stored.trajectories as Record<string, Record<string, number[]>>).map(([name, run]) => [
        name,
        { losses: run['loss_before_each_step']!, bias: run['head.bias_after_6_steps']! },
      ]),
    ),
  });
}
console.log(`${readdirSync(target).length} fixtures written`);
