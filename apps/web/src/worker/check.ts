import { cost, createPvt, pvtConfig, scoped, type PvtConfigInput } from '@pvt/core';
import { createClassificationHead } from '@pvt/heads';
import type { Naming } from '@pvt/presets';
import { generate } from '@pvt/golden/generator.ts';
import { fromBase64, sourceOf } from '@pvt/golden/golden.ts';
import * as tf from '@tensorflow/tfjs-core';
import type { Timing } from '../protocol.ts';
import { compile } from './backends.ts';
import golden from './golden.json';

/** Fifty times what float32 makes of these logits, a tenth of what half precision does. */
export const tolerance = 1e-3;

/** Side of the larger probe's image, in pixels. */
const largeSide = 320;

export interface Probe {
  /** Largest difference between the logits and those of the official code in float64. */
  readonly error: number;
  readonly small: Timing;
  /** Times an image of 320x320. */
  time(): Promise<Timing>;
  dispose(): void;
}

/**
 * Runs a small model, whose weights and input any language makes from a seed, on the current backend and compares its
 * logits with those that the official code gives.
 */
export async function probe(): Promise<Probe> {
  const config = pvtConfig(golden.config as unknown as PvtConfigInput);
  const source = sourceOf({ naming: golden.naming as Naming, seed: golden.seed }, config);
  const backbone = createPvt(config, source);
  const head = createClassificationHead(
    { channels: config.dims.at(-1)!, classes: config.classes },
    scoped(source, 'head'),
  );
  const forward = (input: tf.Tensor4D): tf.Tensor2D =>
    tf.tidy(() => head.forward(backbone.forward(input).embedding));
  const run = async (input: tf.Tensor4D): Promise<Float32Array> => {
    const logits = forward(input);
    try {
      return (await logits.data()) as Float32Array;
    } finally {
      logits.dispose();
    }
  };
  /** The best of three passes after the one that compiles. */
  const timed = async (input: tf.Tensor4D): Promise<Timing> => {
    let least = Infinity;
    for (let pass = 0; pass < 3; pass++) {
      const since = performance.now();
      await run(input);
      least = Math.min(least, performance.now() - since);
      // A slow device has told enough.
      if (least > 500) break;
    }
    const [batch, height, width] = input.shape;
    return { macs: batch * cost(config, [height, width]).macs, milliseconds: least };
  };
  const input = tf.tidy(() =>
    tf.transpose(
      tf.tensor4d(
        generate(golden.seed, 'input', golden.input, new Map()),
        golden.input as [number, number, number, number],
      ),
      [0, 2, 3, 1],
    ),
  );
  const compiled = async (x: tf.Tensor4D) => {
    await compile(() => forward(x).dispose());
    return run(x);
  };
  try {
    const logits = await compiled(input);
    const expected = fromBase64(golden.logits);
    // NaN is as far off as can be.
    const error = expected.reduce(
      (largest, value, i) =>
        Math.max(largest, Number.isNaN(logits[i]) ? Infinity : Math.abs(value - logits[i]!)),
      0,
    );
    const small = await timed(input);
    return {
      error,
      small,
      async time() {
        const image = tf.zeros<tf.Rank.R4>([1, largeSide, largeSide, 3]);
        try {
          await compiled(image);
          return await timed(image);
        } finally {
          image.dispose();
        }
      },
      dispose: () => [backbone, head].forEach((model) => model.dispose()),
    };
  } finally {
    input.dispose();
  }
}
