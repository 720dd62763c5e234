import * as tf from '@tensorflow/tfjs-core';
import {
  createPvt,
  fromStateDict,
  leavesOf,
  pvtConfig,
  pvtSpec,
  resample,
  type FeatureMap,
  type ParamSource,
  type PvtConfig,
  type Spec,
  type LabelMap,
} from '@pvt/core';
import {
  anchorGenerator,
  createFpn,
  createRetinaNet,
  createSegFormer,
  createSemanticFpn,
  createUnet,
  createUperNet,
  decodeBox,
  detect,
  fpnSpec,
  labelMaps,
  mmdetRules,
  namesOf,
  retinaNetSpec,
  segFormerSpec,
  semanticFpnSpec,
  torchvisionFpnNames,
  torchvisionRetinaNetNames,
  torchvisionRules,
  unetSpec,
  uperNetSpec,
  type Detection,
  type ExtraLevels,
  type FpnConfig,
} from '@pvt/heads';
import { fromCanonical } from '@pvt/presets';
import { generate, type Override } from './generator.ts';
import type { GoldenTensor } from './golden.ts';
import type { Run } from './suite.ts';

/** Objects that an implementation found in one image, in its order. */
export interface GoldenDetections {
  readonly boxes: readonly (readonly number[])[];
  readonly scores: readonly number[];
  readonly labels: readonly number[];
}

/** What an implementation of a neck or a head computed, in float64, on generated weights and inputs. */
export interface HeadGolden {
  readonly name: string;
  readonly implementation: string;
  readonly seed: number;
  readonly overrides?: Readonly<Record<string, Override>>;
  /** Shapes of `input` (1, 3, H, W), or of the maps `feat0`, `feat1`, … */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly outputs: Readonly<Record<string, GoldenTensor>>;
  readonly detections?: GoldenDetections;
  /** Base64 of the best class of every pixel, 8 bits each. */
  readonly labels?: string;
}

/** What ours computes of the same; tensors in PyTorch's layout. */
export interface HeadOutputs {
  readonly tensors: ReadonlyMap<string, tf.Tensor>;
  readonly detections?: readonly Detection[];
  readonly labels?: LabelMap;
}

/** Generated parameters under our paths, each drawn by the implementation's name. */
function parameters(
  { seed, overrides }: Pick<HeadGolden, 'seed' | 'overrides'>,
  spec: Spec,
  nameOf: (path: string) => string,
): ParamSource {
  const leaves = Array.from(leavesOf(spec), ([path, { shape }]) => ({ path, name: nameOf(path), shape }));
  const shapes = new Map(leaves.map(({ name, shape }) => [name, shape]));
  return fromStateDict(
    new Map(
      leaves.map(({ path, name, shape }) => [
        path,
        { shape, values: generate(seed, name, shape, shapes, overrides?.[name]) },
      ]),
    ),
  );
}

/** The official name of one of our paths. */
function officialName(path: string, config: PvtConfig): string {
  const values = new Float32Array(2);
  const [name] = fromCanonical(new Map([[path, { shape: [2], values }]]), 'official', config).keys();
  return name!;
}

const backboneOf = (golden: Pick<HeadGolden, 'seed' | 'overrides'>, config: PvtConfig, prefix: string) =>
  createPvt(
    config,
    parameters(golden, pvtSpec(config), (path) => prefix + officialName(path, config)),
  );

const nchw = (map: tf.Tensor4D) => tf.transpose(map, [0, 3, 1, 2]);
export const generated = (
  { seed, overrides }: Pick<HeadGolden, 'seed' | 'overrides'>,
  name: string,
  shape: readonly number[],
) =>
  tf.tidy(() =>
    tf.transpose(
      tf.tensor4d(
        generate(seed, name, shape, new Map(), overrides?.[name]),
        shape as [number, number, number, number],
      ),
      [0, 2, 3, 1],
    ),
  );

/** The maps `feat0`, … with the strides of a backbone. */
const pyramidOf = (golden: HeadGolden): FeatureMap[] =>
  Object.entries(golden.inputs).map(([name, shape], i) => ({
    name,
    stride: 4 * 2 ** i,
    channels: shape[1]!,
    tensor: generated(golden, name, shape),
  }));

const small = pvtConfig({ version: 'v2', dims: [16, 32, 40, 64], depths: [1, 1, 1, 1] });
const b0 = pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [2, 2, 2, 2] });
const bodyOf = ({ name }: HeadGolden): PvtConfig => (name.includes('_b0_') ? b0 : small);

async function fpns(golden: HeadGolden, runIn: Run): Promise<HeadOutputs> {
  const pyramid = pyramidOf(golden);
  const channels = golden.name.includes('odd') ? 32 : 64;
  const torchvision = golden.name.includes('torchvision');
  const run = async (config: Partial<FpnConfig>): Promise<tf.Tensor4D[]> => {
    const full = { features: pyramid, channels, reluBeforeExtra: torchvision, ...config };
    const fpn = createFpn(
      full,
      parameters(golden, fpnSpec(full), (path) =>
        torchvision ? namesOf(path, torchvisionFpnNames(4))[0]! : path,
      ),
    );
    const maps = await runIn(
      (from) => fpn.forward(from).map(({ tensor }) => nchw(tensor) as tf.Tensor4D),
      pyramid,
    );
    fpn.dispose();
    return maps;
  };
  if (!torchvision) {
    const named = (prefix: string, maps: tf.Tensor4D[]) =>
      maps.map((map, i) => [`${prefix}/${i}`, map] as const);
    return {
      tensors: new Map([
        ...named('start1_on_input_5', await run({ startLevel: 1, outputs: 5, extra: 'input' })),
        ...named('start0_maxpool_5', await run({ outputs: 5 })),
      ]),
    };
  }
  const extras = async (name: string, extra: ExtraLevels) =>
    (await run({ outputs: 6, extra })).slice(4).map((map, i) => [`${name}/p${6 + i}`, map] as const);
  return {
    tensors: new Map([
      ...(await run({})).map((map, i) => [`plain/${i}`, map] as const),
      ['maxpool/pool', (await run({ outputs: 5 }))[4]!] as const,
      ...(await extras('p6p7_on_c5', 'input')),
      ...(await extras('p6p7_on_p5', 'output')),
    ]),
  };
}

async function semanticFpn(golden: HeadGolden, run: Run): Promise<HeadOutputs> {
  const onImage = 'input' in golden.inputs;
  const [neckWidth, channels, classes] = onImage ? [256, 128, 150] : [32, 16, 6];
  let pyramid: readonly FeatureMap[];
  if (onImage) {
    const backbone = backboneOf(golden, b0, 'backbone.');
    pyramid = backbone.forward(generated(golden, 'input', golden.inputs['input']!)).pyramid;
    backbone.dispose();
  } else pyramid = pyramidOf(golden);
  const neckConfig = { features: pyramid, channels: neckWidth };
  const neck = createFpn(
    neckConfig,
    parameters(golden, fpnSpec(neckConfig), (path) => `neck.${path}`),
  );
  const headConfig = { features: neck.features, classes, channels };
  const head = createSemanticFpn(
    headConfig,
    parameters(golden, semanticFpnSpec(headConfig), (path) => `decode_head.${path}`),
  );
  const { maps, logits } = await run((from) => {
    const maps = neck.forward(from);
    return { maps, logits: head.forward(maps) };
  }, pyramid);
  neck.dispose();
  head.dispose();
  const [, , height, width] = onImage ? golden.inputs['input']! : golden.outputs['upsampled']!.shape;
  const size = [height!, width!] as const;
  const [labels] = await labelMaps(logits, [size]);
  return {
    tensors: new Map([
      ...maps.map(({ tensor }, i) => [`neck${i}`, nchw(tensor)] as const),
      ['seg_logits', nchw(logits)] as const,
      ['upsampled', nchw(resample(logits, size, 'bilinear'))] as const,
    ]),
    labels: labels!,
  };
}

/**
 * The float image of the pipeline golden as torchvision's `GeneralizedRCNNTransform` prepares it: normalised,
 * resized, padded to 32s.
 */
function transformed(image: tf.Tensor4D, shortSide: number, longSide: number) {
  const [height, width] = [image.shape[1], image.shape[2]];
  const scale = Math.min(shortSide / Math.min(height, width), longSide / Math.max(height, width));
  const contentSize = [Math.floor(height * scale), Math.floor(width * scale)] as const;
  const pad = (side: number): [number, number] => [0, Math.ceil(side / 32) * 32 - side];
  const normal = tf.div(tf.sub(image, [0.485, 0.456, 0.406]), [0.229, 0.224, 0.225]) as tf.Tensor4D;
  return {
    input: tf.pad(resample(normal, contentSize, 'bilinear'), [
      [0, 0],
      pad(contentSize[0]),
      pad(contentSize[1]),
      [0, 0],
    ]),
    placement: { contentSize, originalSize: [height, width] as const },
  };
}

/** The three parts of a RetinaNet on generated weights, named as torchvision or mmdetection names them. */
export function retinaNetParts(
  golden: Pick<HeadGolden, 'seed' | 'overrides'>,
  torchvision: boolean,
  body: PvtConfig = small,
) {
  const rules = torchvision ? torchvisionRules : mmdetRules;
  const [width, classes] = body === b0 ? [256, 91] : [32, 5];
  const backbone = backboneOf(golden, body, torchvision ? 'backbone.body.' : 'backbone.');
  const fpnConfig = {
    features: backbone.features,
    channels: width,
    startLevel: 1,
    outputs: 5,
    ...(torchvision ? ({ extra: 'output', reluBeforeExtra: true } as const) : ({ extra: 'input' } as const)),
  };
  const fpn = createFpn(
    fpnConfig,
    parameters(golden, fpnSpec(fpnConfig), (path) =>
      torchvision ? `backbone.fpn.${namesOf(path, torchvisionFpnNames(3))[0]}` : `neck.${path}`,
    ),
  );
  const headConfig = { features: fpn.features, classes, rules };
  const head = createRetinaNet(
    headConfig,
    parameters(golden, retinaNetSpec(headConfig), (path) =>
      torchvision ? `head.${namesOf(path, torchvisionRetinaNetNames())[0]}` : `bbox_head.${path}`,
    ),
  );
  return { backbone, fpn, head, rules };
}

async function retinaNet(golden: HeadGolden, run: Run): Promise<HeadOutputs> {
  const torchvision = golden.name.includes('torchvision');
  const image = generated(golden, 'input', [1, ...golden.inputs['input']!].slice(-4));
  const prepared = golden.name.includes('pipeline') ? transformed(image, 128, 180) : undefined;
  const input = prepared?.input ?? image;
  const { backbone, fpn, head, rules } = retinaNetParts(golden, torchvision, bodyOf(golden));
  const { pyramid, levels } = await run((from) => {
    const pyramid = fpn.forward(backbone.forward(from).pyramid);
    return { pyramid, levels: head.forward(pyramid) };
  }, input);
  const size = [input.shape[1], input.shape[2]] as const;
  const [detections] = await detect(levels, {
    rules,
    input: size,
    ...(prepared && { images: [prepared.placement] }),
  });
  for (const model of [backbone, fpn, head]) model.dispose();

  const anchors = levels.map((level) =>
    Array.from({ length: level.logits.shape[1] }, (_, i) => anchorGenerator(rules.anchors, level, size)(i)),
  );
  const tensors = new Map<string, tf.Tensor>(
    [...pyramid.entries()].map(([i, { tensor }]) => [`fpn${i}`, nchw(tensor)]),
  );
  if (torchvision) {
    const deltas = tf.concat(
      levels.map((level) => level.deltas),
      1,
    );
    const values = await deltas.data();
    tensors.set(
      'cls_logits',
      tf.concat(
        levels.map(({ logits }) => logits),
        1,
      ),
    );
    tensors.set('bbox_regression', deltas);
    tensors.set('anchors', tf.tensor2d(anchors.flat() as unknown as number[][]));
    tensors.set(
      'decoded_boxes_unclipped',
      tf.tensor2d(
        anchors
          .flat()
          .map((anchor, i) => [
            ...decodeBox(
              anchor,
              [values[4 * i]!, values[4 * i + 1]!, values[4 * i + 2]!, values[4 * i + 3]!],
              rules.limitShrinking,
            ),
          ]),
      ),
    );
    if (prepared) tensors.set('transformed', nchw(input));
  } else {
    for (const [i, { grid, logits, deltas }] of levels.entries()) {
      const map = (rows: tf.Tensor3D) =>
        nchw(tf.reshape(rows, [1, grid[0], grid[1], rows.size / grid[0] / grid[1]]));
      tensors
        .set(`cls${i}`, map(logits))
        .set(`reg${i}`, map(deltas))
        .set(`anchors${i}`, tf.tensor2d(anchors[i] as unknown as number[][]));
    }
  }
  return { tensors, detections: detections! };
}

/** The heads whose references `torch_heads.py` makes. */
async function segmentation(golden: HeadGolden, run: Run): Promise<HeadOutputs> {
  const pyramid = pyramidOf(golden);
  const widths = { features: pyramid, classes: 7, channels: 24 };
  const from = (spec: Spec) => parameters(golden, spec, (path) => `decode_head.${path}`);
  const unet = { features: pyramid, classes: 7 };
  const create = {
    upernet: () => createUperNet(widths, from(uperNetSpec(widths))),
    segformer: () => createSegFormer(widths, from(segFormerSpec(widths))),
    unet: () => createUnet(unet, from(unetSpec(unet))),
  };
  const head = create[golden.name.slice(0, golden.name.indexOf('_')) as keyof typeof create]();
  const logits = await run((from) => head.forward(from), pyramid);
  head.dispose();
  return { tensors: new Map([['seg_logits', nchw(logits)]]) };
}

const outputsOf = {
  fpn: fpns,
  semfpn: semanticFpn,
  retinanet: retinaNet,
  upernet: segmentation,
  segformer: segmentation,
  unet: segmentation,
};

/** Runs our necks and heads on a golden's weights and inputs. */
export const headOutputs = (golden: HeadGolden, run: Run): Promise<HeadOutputs> =>
  outputsOf[golden.name.slice(0, golden.name.indexOf('_')) as keyof typeof outputsOf](golden, run);
