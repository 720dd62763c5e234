import {
  fromStateDict,
  leavesOf,
  pvtSpec,
  type ParamSource,
  type PvtConfig,
  type PvtConfigInput,
  type StateDict,
} from '@pvt/core';
import { fromCanonical, toCanonical, type Naming } from '@pvt/presets';
import { generate, type Override } from './generator.ts';

/**
 * Numbers of a tensor in PyTorch's layout: some of its values, at multiples of `step`, and moments of all of
 * them.
 */
export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly step: number;
  /** Base64 of little-endian float32. */
  readonly samples: string;
  readonly mean?: number;
  readonly std?: number;
  readonly maxAbs?: number;
}

/** What an implementation that is not ours computed, in float64, on generated weights and input. */
export interface Golden {
  readonly name: string;
  readonly implementation: string;
  readonly naming: Naming;
  readonly config: PvtConfigInput;
  readonly seed: number;
  readonly input: readonly [batch: number, channels: number, height: number, width: number];
  /** Applies to the weights and biases of all norms. */
  readonly normOverride?: Override;
  readonly outputs: Readonly<Record<string, GoldenTensor>>;
  /** The backbone of the official detection code, on the same weights. */
  readonly dense?: Readonly<Record<string, GoldenTensor>>;
  /** Of the mean cross entropy for one class, by the implementation's parameter names. */
  readonly gradients?: {
    readonly target: number;
    readonly loss: number;
    readonly params: Readonly<Record<string, GoldenTensor>>;
    readonly input: GoldenTensor;
  };
  /**
   * Six full-batch steps of an optimiser, named with its settings: the loss before each and the classifier's
   * bias after them.
   */
  readonly trajectories?: Readonly<
    Record<string, { readonly losses: readonly number[]; readonly bias: readonly number[] }>
  >;
}

export const toBase64 = (values: Float32Array): string => {
  let text = '';
  for (const byte of new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    text += String.fromCharCode(byte);
  return btoa(text);
};

export const fromBase64 = (text: string): Float32Array =>
  new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

/** The generated parameters of a model, under the implementation's own names. */
export function generated(
  { naming, seed, normOverride }: Pick<Golden, 'naming' | 'seed' | 'normOverride'>,
  config: PvtConfig,
): StateDict {
  const width = config.dims.at(-1)!;
  const shapesByPath = new Map<string, readonly number[]>([
    ...Array.from(leavesOf(pvtSpec(config)), ([path, { shape }]) => [path, shape] as const),
    ['head.weight', [config.classes, width]],
    ['head.bias', [config.classes]],
  ]);
  // Renaming needs the shapes alone.
  const values = new Float32Array(0);
  const blanks = new Map(Array.from(shapesByPath, ([path, shape]) => [path, { shape, values }]));
  const shapes = new Map(
    Array.from(fromCanonical(blanks, naming, config), ([name, { shape }]) => [name, shape]),
  );
  return new Map(
    Array.from(shapes, ([name, shape]) => {
      const isNorm = shapes.get(name.replace(/bias$/, 'weight'))?.length === 1;
      return [
        name,
        { shape, values: generate(seed, name, shape, shapes, isNorm ? normOverride : undefined) },
      ];
    }),
  );
}

/** {@link generated} as a source for our models. */
export const sourceOf = (
  golden: Pick<Golden, 'naming' | 'seed' | 'normOverride'>,
  config: PvtConfig,
): ParamSource => fromStateDict(toCanonical(generated(golden, config), golden.naming).state);
