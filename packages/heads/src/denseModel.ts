import * as tf from '@tensorflow/tfjs-core';
import { DisposedError, type Feature, type FeatureMap, type ForwardContext } from '@pvt/core';
import type { Fpn } from './fpn.ts';
import type { RetinaNet } from './retinanet/retinanet.ts';
import type { SegmentationHead } from './segmentation/segmentation.ts';

/** Anything that turns images into a pyramid; `createPvt` of `@pvt/core` makes one. */
export interface Backbone {
  /** Levels of the pyramid, from fine to coarse. */
  readonly features: readonly Feature[];
  forward(
    input: tf.Tensor4D,
    context?: ForwardContext,
  ): { readonly pyramid: readonly FeatureMap[]; readonly embedding?: tf.Tensor };
  dispose(): void;
}

/** Anything that turns one pyramid into another, such as an FPN. */
export interface Neck {
  /** Levels of the pyramid that it returns, from fine to coarse. */
  readonly features: readonly Feature[];
  forward(pyramid: readonly FeatureMap[], context?: ForwardContext): readonly FeatureMap[];
  dispose(): void;
}

/** Anything that turns a pyramid into an output. */
export interface Head {
  forward(pyramid: readonly FeatureMap[], context?: ForwardContext): unknown;
  dispose(): void;
}

/** The parts of a model for dense prediction, each built for the features of the one before it. */
export interface DenseParts {
  readonly backbone: Backbone;
  readonly neck?: Neck | undefined;
  readonly head: Head;
}

/** The parts of a detector. */
export interface DetectorParts extends DenseParts {
  readonly neck: Fpn;
  readonly head: RetinaNet;
}

/** The parts of a segmenter; only some heads need a neck. */
export interface SegmenterParts extends DenseParts {
  readonly neck?: Fpn | undefined;
  readonly head: SegmentationHead;
}

/** Backbone, neck and head as one model. */
export interface DenseModel<P extends DenseParts = DenseParts> {
  readonly parts: P;
  /** The levels that the head sees. */
  readonly features: readonly Feature[];
  readonly disposed: boolean;
  /**
   * From images [B, H, W, channels] to the head's output. The input is borrowed; the output belongs to the caller.
   *
   * @throws DisposedError after `dispose()`
   */
  forward(input: tf.Tensor4D, context?: ForwardContext): ReturnType<P['head']['forward']>;
  /** Frees all parts. Calling it again does nothing. */
  dispose(): void;
}

/**
 * Assembles a backbone, an optional neck and a head into one model, which owns them: `SingleStageDetector` and
 * `EncoderDecoder` of mmdetection and mmsegmentation.
 *
 * @example
 * const detector = createDenseModel({ backbone, neck, head: createRetinaNet(config, source) });
 * const levels = detector.forward(input);
 */
export function createDenseModel<P extends DenseParts>(parts: P): DenseModel<P> {
  const { backbone, neck, head } = parts;
  let disposed = false;
  return {
    parts,
    features: (neck ?? backbone).features,
    get disposed() {
      return disposed;
    },
    forward(input, context = {}) {
      if (disposed) throw new DisposedError('Dense model');
      const run = () => {
        const { pyramid } = backbone.forward(input, context);
        const levels = neck === undefined ? pyramid : neck.forward(pyramid, context);
        return head.forward(levels, context);
      };
      // A tidy looks into objects and lists of any shape, but its type does not say so.
      return tf.tidy(run as () => tf.TensorContainer) as ReturnType<P['head']['forward']>;
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      for (const part of [backbone, neck, head]) part?.dispose();
    },
  };
}
