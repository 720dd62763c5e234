import * as tf from '@tensorflow/tfjs-core';
import {
  ConfigError,
  convolution,
  createModel,
  pipe,
  type Feature,
  type FeatureMap,
  type Model,
  type ParamSource,
  type ParamsOf,
  type Size,
} from '@pvt/core';
import { initializedConvolutionSpec } from '../convModule.ts';
import { checkClasses, checkFeatures, isCount, selectMaps } from '../features.ts';
import { anchorsPerCell } from './anchors.ts';
import { mmdetRules, type RetinaNetRules } from './rules.ts';

export interface RetinaNetConfig {
  /** The levels of its pyramid, all of one width. */
  readonly features: readonly Feature[];
  readonly classes: number;
  /** Convolutions in front of each output. Default: 4. */
  readonly depth?: number;
  /** Default: {@link mmdetRules}. */
  readonly rules?: RetinaNetRules;
}

/** One level of a RetinaNet's output. N counts anchors: rows, then columns, then ratios, then sizes. */
export interface RetinaNetLevel {
  readonly stride: number;
  /** Height and width of the level's map. */
  readonly grid: Size;
  /** [B, N, classes], before the sigmoid. */
  readonly logits: tf.Tensor3D;
  /** [B, N, 4]: offsets of the boxes from the anchors, see `decodeBox`. */
  readonly deltas: tf.Tensor3D;
}

/** Probability of each class that an untrained head predicts for every anchor (Lin et al., section 4.1). */
const prior = 0.01;

/** Two towers and an output each, named as in mmdetection's `RetinaHead`. */
export function retinaNetSpec({ features, classes, depth = 4, rules = mmdetRules }: RetinaNetConfig) {
  const { channels, stride } = features[0]!;
  const anchors = anchorsPerCell(rules.anchors, stride);
  const layer = (outputs: number, bias = 0) =>
    initializedConvolutionSpec(channels, outputs, 3, { kind: 'normal', std: 0.01 }, bias);
  const tower = () => Array.from({ length: depth }, () => ({ conv: layer(channels) }));
  return {
    cls_convs: tower(),
    reg_convs: tower(),
    retina_cls: layer(anchors * classes, -Math.log((1 - prior) / prior)),
    retina_reg: layer(anchors * 4),
  };
}

/** From a pyramid to class logits and box deltas of every anchor. */
export interface RetinaNet extends Model<
  ReturnType<typeof retinaNetSpec>,
  (pyramid: readonly FeatureMap[]) => RetinaNetLevel[]
> {
  readonly config: Required<RetinaNetConfig>;
  readonly inputs: readonly Feature[];
}

type Layer = ParamsOf<typeof initializedConvolutionSpec>;

/** A tower's output with one row per anchor: channels are (anchor, value), so this is a view. */
function tower(
  map: tf.Tensor4D,
  layers: readonly { readonly conv: Layer }[],
  output: Layer,
  width: number,
): tf.Tensor3D {
  const hidden = layers.flatMap(({ conv }) => [
    (t: tf.Tensor4D) => convolution(t, conv, 1, 1),
    (t: tf.Tensor4D) => tf.relu(t),
  ]);
  return pipe(
    map,
    (t) => pipe(t, ...hidden),
    (t) => convolution(t, output, 1, 1),
    (t) => tf.reshape(t, [t.shape[0], t.size / t.shape[0] / width, width]),
  );
}

function checkConfig({ features, classes, depth, rules }: Required<RetinaNetConfig>): void {
  checkFeatures('RetinaNet', features);
  const widths = features.map(({ channels }) => channels);
  if (new Set(widths).size > 1) {
    throw new ConfigError(
      'features-invalid',
      `RetinaNet: expected levels of one width, got ${widths.join(', ')}; put an FPN in front.`,
    );
  }
  checkClasses('RetinaNet', classes);
  if (!isCount(depth, 0)) {
    throw new ConfigError(
      'depth-invalid',
      `RetinaNet: expected depth to be an integer of at least 0, got ${depth}; correct it.`,
    );
  }
  if (new Set(features.map(({ stride }) => anchorsPerCell(rules.anchors, stride))).size > 1) {
    throw new ConfigError(
      'anchors-invalid',
      'RetinaNet: expected as many anchor sizes on every level, got different numbers; ' +
        'give every level as many, since all levels share the head.',
    );
  }
}

/**
 * RetinaNet's head (Lin et al., arXiv:1708.02002). `detect` turns its output into boxes, `retinaNetLoss` into
 * a loss.
 *
 * @throws ConfigError for levels of different widths or fewer than one class, CheckpointError if the source
 * does not fit
 * @example
 * const head = createRetinaNet({ features: fpn.features, classes: 80 }, scoped(source, 'bbox_head'));
 * const levels = head.forward(fpn.forward(backbone.forward(input).pyramid));
 */
export function createRetinaNet(config: RetinaNetConfig, source: ParamSource): RetinaNet {
  const { features, classes, depth = 4, rules = mmdetRules } = config;
  const complete = { features, classes, depth, rules };
  checkConfig(complete);
  return createModel(
    'RetinaNet',
    retinaNetSpec(complete),
    source,
    ({ cls_convs, reg_convs, retina_cls, retina_reg }) =>
      (pyramid: readonly FeatureMap[]) =>
        selectMaps('RetinaNet', features, pyramid).map((map, i): RetinaNetLevel => ({
          stride: features[i]!.stride,
          grid: [map.shape[1], map.shape[2]],
          logits: tower(map, cls_convs, retina_cls, classes),
          deltas: tower(map, reg_convs, retina_reg, 4),
        })),
    { config: complete, inputs: features },
  );
}
