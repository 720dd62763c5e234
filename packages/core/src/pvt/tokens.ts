import * as tf from '@tensorflow/tfjs-core';
import type { Size } from '../vision.ts';

/** [B, h·w, C] to [B, h, w, C]. In NHWC this is a reshape, which copies nothing. */
export const toMap = (tokens: tf.Tensor3D, [height, width]: Size): tf.Tensor4D =>
  tf.reshape(tokens, [tokens.shape[0], height, width, tokens.shape[2]]);

/** [B, h, w, C] to [B, h·w, C]. */
export const toTokens = (map: tf.Tensor4D): tf.Tensor3D =>
  tf.reshape(map, [map.shape[0], map.shape[1] * map.shape[2], map.shape[3]]);
