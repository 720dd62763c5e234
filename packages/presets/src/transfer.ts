import { ConfigError, randomInit, type ParamSource, type StateDict } from '@pvt/core';

type Tensor = StateDict extends ReadonlyMap<string, infer T> ? T : never;

/**
 * A source with a new classifier, drawn from `seed`, for a model of any number of classes.
 *
 * @example
 * const source = withNewClassifier(checkpoint.source, 7);
 */
export function withNewClassifier(source: ParamSource, seed = 0, path = 'head'): ParamSource {
  const initial = randomInit(seed);
  const sourceOf = (name: string) => (name.startsWith(`${path}.`) ? initial : source);
  return {
    shape: (name, leaf) => sourceOf(name).shape(name, leaf),
    values: (name, leaf) => sourceOf(name).values(name, leaf),
    readInto(name, leaf, target) {
      const chosen = sourceOf(name);
      return chosen.readInto?.(name, leaf, target) ?? chosen.values(name, leaf);
    },
  };
}

/**
 * A source whose first convolution has as many input channels as the model asks for, see {@link
 * adaptInputConv}. If its weights cannot be adapted, it keeps their shape, and the model reports the
 * mismatch.
 *
 * @example
 * const backbone = createPvt({ ...checkpoint.config, channels: 4 }, withInputChannels(checkpoint.source));
 */
export function withInputChannels(
  source: ParamSource,
  path = 'stages.0.patch_embed.proj.weight',
): ParamSource {
  return {
    shape(name, leaf) {
      const shape = source.shape(name, leaf);
      const channels = leaf.shape[1]!;
      if (name !== path || shape === undefined || shape[1] === channels) return shape;
      return adaptedShape(shape, channels) ?? shape;
    },
    values(name, leaf) {
      const shape = source.shape(name, leaf);
      const values = source.values(name, leaf);
      const channels = leaf.shape[1]!;
      return name !== path || shape === undefined || shape[1] === channels
        ? values
        : adaptInputConv({ shape, values }, channels).values;
    },
  };
}

function adaptedShape(shape: readonly number[], channels: number): number[] | undefined {
  const [outputs, inputs, height, width] = shape as [number, number, number, number];
  if (shape.length !== 4) return undefined;
  if (channels === 1 && inputs <= 3) return [outputs, 1, height, width];
  if (channels === 1) return inputs % 3 === 0 ? [outputs, inputs / 3, height, width] : undefined;
  if (channels === 3) return [...shape];
  return inputs === 3 ? [outputs, channels, height, width] : undefined;
}

/**
 * Weights of a first convolution (outputs, inputs, height, width) for another number of input channels, as
 * timm's `adapt_input_conv` (`models/_manipulate.py`) computes them. For one channel the inputs are summed; a
 * space-to-depth stem (more than three inputs) sums each three, so that a third of its inputs remains. For
 * three channels nothing changes. For any other number, three inputs are repeated in turn and scaled by 3 /
 * channels.
 *
 * @throws ConfigError `input-channels` if none of these rules applies
 * @example
 * const grey = adaptInputConv({ shape: [64, 3, 7, 7], values }, 1); // shape [64, 1, 7, 7]
 */
export function adaptInputConv({ shape, values }: Tensor, channels: number): Tensor {
  const adapted = adaptedShape(shape, channels);
  if (adapted === undefined) {
    throw new ConfigError(
      'input-channels',
      `adaptInputConv: expected weights (outputs, 3, height, width) to adapt to ${channels} channels, ` +
        `got [${shape}]; start this layer from random values instead.`,
    );
  }
  if (channels === 3) return { shape: adapted, values };
  const [outputs, inputs, height, width] = shape as [number, number, number, number];
  const adaptedInputs = adapted[1]!;
  const area = height * width;
  const result = new Float32Array(outputs * adaptedInputs * area);
  const scale = channels === 1 ? 1 : Math.fround(3 / channels);
  /** Inputs that each adapted one is the sum of. */
  const summed = channels === 1 ? inputs / adaptedInputs : 1;
  for (let i = 0; i < result.length; i++) {
    const pixel = i % area;
    const input = Math.floor(i / area) % adaptedInputs;
    const output = Math.floor(i / (area * adaptedInputs));
    let sum = 0;
    for (let k = 0; k < summed; k++) {
      // Rounded at each step, as a sum in float32 is.
      sum = Math.fround(sum + values[(output * inputs + ((input * summed + k) % inputs)) * area + pixel]!);
    }
    result[i] = sum * scale;
  }
  return { shape: adapted, values: result };
}
