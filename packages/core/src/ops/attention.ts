import * as tf from '@tensorflow/tfjs-core';
import { dropout, type ForwardContext } from './dropout.ts';
import { fused } from './fused.ts';
import { pipe } from './pipe.ts';

/** [B, N, C] to [B, heads, N, C/heads], or with keys' last two axes exchanged. A single head needs no copy. */
function splitHeads(x: tf.Tensor3D, heads: number, transpose = false): tf.Tensor4D {
  const [batch, tokens, channels] = x.shape;
  if (heads === 1 && !transpose) return tf.reshape(x, [batch, 1, tokens, channels]);
  return pipe(
    x,
    (t: tf.Tensor) => tf.reshape(t, [batch, tokens, heads, channels / heads]),
    (t: tf.Tensor4D) => tf.transpose(t, transpose ? [0, 2, 3, 1] : [0, 2, 1, 3]),
  );
}

/**
 * Multi-head scaled dot-product attention (Vaswani et al., arXiv:1706.03762), where queries and keys may differ in
 * number, as after spatial reduction.
 *
 * @param query [B, N, C]
 * @param keyValue [B, M, 2C], keys before values
 * @param heads divisor of C
 * @param keepProbabilities also return the attention map
 * @returns tokens [B, N, C] and, if asked for, probabilities [B, heads, N, M] (before dropout)
 * @example
 * const { tokens } = multiHeadAttention(query, keyValue, 8);
 */
export function multiHeadAttention(
  query: tf.Tensor3D,
  keyValue: tf.Tensor3D,
  heads: number,
  keepProbabilities = false,
  rate = 0,
  context: ForwardContext = {},
): { tokens: tf.Tensor3D; probabilities?: tf.Tensor4D } {
  // A kernel keeps no probabilities, neither to return nor to drop.
  const quick =
    keepProbabilities || (context.training && rate > 0)
      ? undefined
      : fused<tf.Tensor3D>('PvtAttention', { query, keyValue }, { heads });
  if (quick !== undefined) return { tokens: quick };
  return tf.tidy(() => {
    const [batch, tokens, channels] = query.shape;
    const [key, value] = tf.split(keyValue, 2, 2) as [tf.Tensor3D, tf.Tensor3D];
    // The scale goes onto the keys, the smallest of the factors.
    const keys = pipe<tf.Tensor4D>(
      key,
      (t: tf.Tensor) => tf.mul(t, (channels / heads) ** -0.5),
      (t: tf.Tensor3D) => splitHeads(t, heads, true),
    );
    const queries = splitHeads(query, heads);
    const probabilities = pipe<tf.Tensor4D>(
      queries,
      (t: tf.Tensor) => tf.matMul(t, keys),
      (t: tf.Tensor) => tf.softmax(t),
    );
    queries.dispose();
    const dropped = dropout(probabilities, rate, context);
    const mixed = tf.matMul(dropped, splitHeads(value, heads));
    if (!keepProbabilities) probabilities.dispose();
    const merged = pipe<tf.Tensor3D>(
      mixed,
      (t: tf.Tensor4D) => tf.transpose(t, [0, 2, 1, 3]),
      (t: tf.Tensor) => tf.reshape(t, [batch, tokens, channels]),
    );
    return keepProbabilities ? { tokens: merged, probabilities } : { tokens: merged };
  });
}
