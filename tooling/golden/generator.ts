/**
 * Parameters and inputs that any language recreates bit for bit from a seed, a name and a shape: a counter
 * goes through murmur3's finaliser, becomes a uniform variable of variance 1, and is scaled by the
 * parameter's kind. The golden numbers in `fixtures/` were computed by other people's implementations on
 * these.
 */

/** `p = offset + gain * p` before the rounding to float32. */
export interface Override {
  readonly offset?: number;
  readonly gain?: number;
}

function fnv1a(text: string): number {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 0x01000193);
  return state;
}

function finalize(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** A parameter is `mean + deviation * v` for a uniform `v` of variance 1. */
interface Distribution {
  readonly mean: number;
  readonly deviation: number;
}

/**
 * The distribution of a parameter, by its name, its shape and the rank of the weight that a bias belongs to.
 */
function distributionOf(
  name: string,
  shape: readonly number[],
  siblingRank: number | undefined,
): Distribution {
  const last = name.slice(name.lastIndexOf('.') + 1);
  if (/^(pos_embed\d*|position_embeddings|cls_token)$/.test(last)) return { mean: 0, deviation: 0.02 };
  if (/^(input|feat\d)$/.test(last)) return { mean: 0, deviation: 1 };
  if (last === 'running_mean') return { mean: 0, deviation: 0.1 };
  if (last === 'running_var') return { mean: 1, deviation: 0.1 };
  if (last === 'num_batches_tracked') return { mean: 0, deviation: 0 };
  if (last === 'bias') return { mean: 0, deviation: siblingRank === 1 ? 0.1 : 0.02 };
  if (last !== 'weight')
    throw new Error(`generator: expected a weight, bias, embedding or running statistic, got ${name}`);
  if (shape.length === 1) return { mean: 1, deviation: 0.1 };
  return { mean: 0, deviation: 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)) };
}

/**
 * The values of a parameter or input, row-major in PyTorch's layout.
 *
 * @param shapes of the whole state dict, which tell a norm's bias from a layer's
 */
export function generate(
  seed: number,
  name: string,
  shape: readonly number[],
  shapes: ReadonlyMap<string, readonly number[]>,
  { offset = 0, gain = 1 }: Override = {},
): Float32Array {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  const start = fnv1a(`${seed}/${name}`);
  const siblingRank = shapes.get(name.replace(/bias$/, 'weight'))?.length;
  const { mean, deviation } = distributionOf(name, shape, siblingRank);
  for (let i = 0; i < values.length; i++) {
    const uniform = finalize((start + Math.imul(i, 0x9e3779b9)) | 0) / 4294967296;
    const p = mean + deviation * ((2 * uniform - 1) * Math.sqrt(3));
    values[i] = offset + gain * p;
  }
  return values;
}
