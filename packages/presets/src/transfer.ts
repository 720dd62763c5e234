import { ConfigError, randomInit, type ParamSource, type StateDict } from '@pvt/core';

type Tensor = StateDict extends ReadonlyMap<string, infer T> ? T : never;

/**
 * A source whose classifier starts anew from `seed`, so that a model of any number of classes can be made from it.
 *
 * @example
 * const source = withNewClassifier(checkpoint.source, 7);
 */
export function withNewClassifier(source: ParamSource, seed = 0, path = 'head'): ParamSource {
  const fresh = randomInit(seed);
  const choose = (name: string) => (name.startsWith(`${path}.`) ? fresh : source);
  return {
    shape: (name, leaf) => choose(name).shape(name, leaf),
    values: (name, leaf) => choose(name).values(name, leaf),
    readInto(name, leaf, target) {
      const chosen = choose(name);
      return chosen.readInto?.(name, leaf, target) ?? chosen.values(name, leaf);
    },
  };
}

/**
 * A source whose first convolution fits whatever number of input channels the model asks for, see {@link adaptInputConv}.
 * Where the weights cannot be adapted, it answers with the shape that it has, and the model says what does not fit.
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
  if (channels === 1)
    return inputs > 3
      ? inputs % 3 === 0
        ? [outputs, inputs / 3, height, width]
        : undefined
      : [outputs, 1, height, width];
  if (channels === 3) return [...shape];
  return inputs === 3 ? [outputs, channels, height, width] : undefined;
}

/**
 * Weights of a first convolution (outputs, inputs, height, width) for another number of input channels, as timm's
 * `adapt_input_conv` (`models/_manipulate.py`) makes them. For one channel the inputs are summed; a space-to-depth
 * stem (more than three inputs) sums each run of three, and so keeps a third of its inputs. For three channels nothing
 * changes. For any other number three inputs are repeated in turn and scaled by 3 / channels.
 *
 * @throws ConfigError where neither rule applies
 * @example
 * const grey = adaptInputConv({ shape: [64, 3, 7, 7], values }, 1); // shape [64, 1, 7, 7]
 */
export function adaptInputConv({ shape, values }: Tensor, channels: number): Tensor {
  const adapted = adaptedShape(shape, channels);
  if (adapted === undefined) {
    throw new ConfigError(
      'input-channels',
      `adaptInputConv: expected weights (outputs, 3, height, width) to adapt to ${channels} channels, got [${shape}]; start this layer from random values instead.`,
    );
  }
  if (channels === 3) return { shape: adapted, values };
  const [outputs, inputs, height, width] = shape as [number, number, number, number];
  const kept = adapted[1]!;
  const area = height * width;
  const result = new Float32Array(outputs * kept * area);
  const scale = channels === 1 ? 1 : Math.fround(3 / channels);
  /** How many inputs each kept one is the sum of. */
  const run = channels === 1 ? inputs / kept : 1;
  for (let i = 0; i < result.length; i++) {
    const pixel = i % area;
    const input = Math.floor(i / area) % kept;
    const output = Math.floor(i / (area * kept));
    let sum = 0;
    for (let k = 0; k < run; k++) {
      // Rounded at each step, as a float32 sum is.
      sum = Math.fround(sum + values[(output * inputs + ((input * run + k) % inputs)) * area + pixel]!);
    }
    result[i] = sum * scale;
  }
  return { shape: adapted, values: result };
}
