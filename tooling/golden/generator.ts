/**
 * Parameters and inputs that any language recreates bit for bit from a seed, a name and a shape: a counter goes through
 * murmur3's finaliser, becomes a uniform variable of variance 1, and is scaled by the parameter's kind. The golden
 * numbers in `fixtures/` were computed by other people's implementations on these.
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

/** The scale and centre of a parameter, by its name, its shape and the shape of the weight it belongs to. */
function formOf(
  name: string,
  shape: readonly number[],
  siblingRank: number | undefined,
): (v: number) => number {
  const last = name.slice(name.lastIndexOf('.') + 1);
  if (/^(pos_embed\d*|position_embeddings|cls_token)$/.test(last)) return (v) => v * 0.02;
  if (/^(input|feat\d)$/.test(last)) return (v) => v;
  if (last === 'running_mean') return (v) => 0.1 * v;
  if (last === 'running_var') return (v) => 1 + 0.1 * v;
  if (last === 'num_batches_tracked') return () => 0;
  if (last === 'bias') return siblingRank === 1 ? (v) => 0.1 * v : (v) => v * 0.02;
  if (last !== 'weight')
    throw new Error(`generator: expected a weight, bias, embedding or running statistic, got ${name}`);
  if (shape.length === 1) return (v) => 1 + 0.1 * v;
  const scale = 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1));
  return (v) => v * scale;
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
  const form = formOf(name, shape, shapes.get(name.replace(/bias$/, 'weight'))?.length);
  for (let i = 0; i < values.length; i++) {
    const uniform = finalize((start + Math.imul(i, 0x9e3779b9)) | 0) / 4294967296;
    const p = form((2 * uniform - 1) * Math.sqrt(3));
    values[i] = offset === 0 && gain === 1 ? p : offset + gain * p;
  }
  return values;
}
