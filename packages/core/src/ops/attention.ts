import * as tf from '@tensorflow/tfjs-core';
import { dropout, type ForwardContext } from './dropout.ts';
import { fused } from './fused.ts';
import { pipe } from './pipe.ts';

/** [B, N, C] to [B, heads, N, C/heads]. A single head needs no copy. */
function splitHeads(x: tf.Tensor3D, heads: number): tf.Tensor4D {
  const [batch, tokens, channels] = x.shape;
  if (heads === 1) return tf.reshape(x, [batch, 1, tokens, channels]);
  return pipe(
    x,
    (t) => tf.reshape<tf.Rank.R4>(t, [batch, tokens, heads, channels / heads]),
    (t) => tf.transpose(t, [0, 2, 1, 3]),
  );
}

/** [B, M, C] to [B, heads, C/heads, M], so that a product with the queries needs no transposition. */
function splitKeys(x: tf.Tensor3D, heads: number): tf.Tensor4D {
  const [batch, tokens, channels] = x.shape;
  return pipe(
    x,
    (t) => tf.reshape<tf.Rank.R4>(t, [batch, tokens, heads, channels / heads]),
    (t) => tf.transpose(t, [0, 2, 3, 1]),
  );
}

/** [B, heads, N, C/heads] to [B, N, C]. */
function mergeHeads(x: tf.Tensor4D): tf.Tensor3D {
  const [batch, heads, tokens, channels] = x.shape;
  return pipe(
    x,
    (t) => tf.transpose(t, [0, 2, 1, 3]),
    (t) => tf.reshape<tf.Rank.R3>(t, [batch, tokens, heads * channels]),
  );
}

/** Tokens after attention and, if asked for, the attention's probabilities. */
export interface AttentionOutput {
  /** [B, N, C] */
  readonly tokens: tf.Tensor3D;
  /** [B, heads, N, M], before dropout. */
  readonly probabilities?: tf.Tensor4D;
}

/**
 * Multi-head scaled dot-product attention (Vaswani et al., arXiv:1706.03762). Queries and keys may differ in
 * number, as they do after spatial reduction.
 *
 * @param query [B, N, C]
 * @param keyValue [B, M, 2C], keys before values
 * @param heads a divisor of C
 * @param returnProbabilities also return the attention map
 * @param rate dropout rate on the probabilities, while training
 * @example
 * const { tokens } = multiHeadAttention(query, keyValue, 8);
 */
export function multiHeadAttention(
  query: tf.Tensor3D,
  keyValue: tf.Tensor3D,
  heads: number,
  returnProbabilities = false,
  rate = 0,
  context: ForwardContext = {},
): AttentionOutput {
  const drops = context.training === true && rate > 0;
  // A fused kernel never writes the probabilities, so there is nothing to return or to drop.
  if (!returnProbabilities && !drops) {
    const tokens = fused<tf.Tensor3D>('PvtAttention', { query, keyValue }, { heads });
    if (tokens !== undefined) return { tokens };
  }
  return tf.tidy(() => {
    const channels = query.shape[2];
    const [key, value] = tf.split(keyValue, 2, 2) as [tf.Tensor3D, tf.Tensor3D];
    // The keys are the smallest factor, so they are the ones to scale.
    const keys = pipe(
      key,
      (t) => tf.mul<tf.Tensor3D>(t, (channels / heads) ** -0.5),
      (t) => splitKeys(t, heads),
    );
    const queries = splitHeads(query, heads);
    const probabilities = pipe(
      queries,
      (t) => tf.matMul<tf.Tensor4D>(t, keys),
      (t) => tf.softmax(t),
    );
    queries.dispose();
    const dropped = dropout(probabilities, rate, context);
    const mixed = tf.matMul<tf.Tensor4D>(dropped, splitHeads(value, heads));
    if (!returnProbabilities) probabilities.dispose();
    const tokens = mergeHeads(mixed);
    return returnProbabilities ? { tokens, probabilities } : { tokens };
  });
}
