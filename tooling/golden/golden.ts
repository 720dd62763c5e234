import type { PvtConfigInput } from '@pvt/core';
import type { Naming } from '@pvt/presets';
import type { Override } from './generator.ts';

/** Numbers of a tensor in PyTorch's layout: some of its values, at multiples of `step`, and moments of all of them. */
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
  readonly input: readonly number[];
  /** Applies to the weights and biases of all norms. */
  readonly normOverride?: Override;
  readonly outputs: Readonly<Record<string, GoldenTensor>>;
  /** The backbone of the official detection code, on the same weights. */
  readonly dense?: Readonly<Record<string, GoldenTensor>>;
}

export const toBase64 = (values: Float32Array): string => {
  let text = '';
  for (const byte of new Uint8Array(values.buffer, values.byteOffset, values.byteLength)) text += String.fromCharCode(byte);
  return btoa(text);
};

export const fromBase64 = (text: string): Float32Array => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
