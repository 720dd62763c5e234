import { preprocess } from '@pvt/adapter-image';
import {
  BackendError,
  cost,
  createPvt,
  linearPoolSize,
  type Cost,
  type Image,
  type Pvt,
  type PvtConfig,
} from '@pvt/core';
import { drawHeatMap, viridis } from '@pvt/draw';
import type { Checkpoint } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture, AttentionMap, AttentionRequest, Explored, Size } from '../protocol.ts';
import { drawOverlay } from './overlay.ts';

/** Input sides are multiples of this, so that every stage divides them evenly. */
const multiple = 32;
/** Bytes of attention maps that are kept for the visitor's clicks. */
const attentionBytes = 160 * 2 ** 20;

const normalize = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** The size that an image is looked at: its shape kept, its shorter side as wished. */
export function inputSize(
  { width, height }: { readonly width: number; readonly height: number },
  shortSide: number,
): Size {
  const scale = shortSide / Math.min(width, height);
  // A panorama is cut down to three times its height.
  const side = (value: number) =>
    multiple * Math.max(1, Math.round(Math.min(value * scale, 3 * shortSide) / multiple));
  return [side(height), side(width)];
}

const bytesOfAttention = (config: PvtConfig, { stages }: Cost) =>
  stages.reduce(
    (sum, { attentionMap }, i) => sum + 4 * config.depths[i]! * attentionMap.reduce((a, b) => a * b, 1),
    0,
  );

/** A backbone that one looks into: its pyramid, its attention, its cost. */
export class Explorer {
  readonly #config: PvtConfig;
  readonly #backbone: Pvt;
  #size: Size = [0, 0];
  #attentions: readonly (readonly tf.Tensor4D[])[] = [];
  #levels: readonly { readonly shape: Size; readonly channels: number; readonly values: Float32Array }[] = [];

  constructor({ config, source }: Checkpoint) {
    this.#config = { ...config, classes: 0 };
    this.#backbone = createPvt(this.#config, source);
  }

  /** Those of some sides whose attention maps there is room for. */
  permitted(sides: readonly number[]): number[] {
    return sides.filter(
      (side) => bytesOfAttention(this.#config, cost(this.#config, [side, side])) <= attentionBytes,
    );
  }

  /** The outputs belong to the caller. */
  forward(image: Image, size: Size) {
    const input = preprocess(image, {
      resize: { to: { size }, resampling: 'bilinear' },
      rescale: 1 / 255,
      normalize,
    });
    try {
      return this.#backbone.forward(input, { attentions: true });
    } finally {
      input.dispose();
    }
  }

  async explore(image: Image, shortSide: number): Promise<Explored> {
    const since = performance.now();
    const size = inputSize(image, shortSide);
    const { pyramid, embedding, attentions } = this.forward(image, size);
    embedding.dispose();
    this.forget();
    this.#attentions = attentions;
    this.#size = size;
    this.#levels = await Promise.all(
      pyramid.map(async ({ tensor, channels }) => {
        const [, height, width] = tensor.shape;
        const values = (await tensor.data()) as Float32Array;
        tensor.dispose();
        return { shape: [height, width] as const, channels, values };
      }),
    );
    const milliseconds = performance.now() - since;
    const levels = this.#backbone.features.map(({ name, stride, channels }, i) => ({
      name,
      stride,
      channels,
      grid: this.#levels[i]!.shape,
      bitmap: this.level(i),
    }));
    return { size, levels, milliseconds };
  }

  /** A level as a heat map: the length of each position's channels, or one channel. */
  level(index: number, channel?: number): ImageBitmap {
    const {
      shape: [height, width],
      channels,
      values,
    } = this.#levels[index]!;
    const heats = Float32Array.from({ length: height * width }, (_, i) =>
      channel === undefined
        ? Math.hypot(...values.subarray(i * channels, (i + 1) * channels))
        : values[i * channels + channel]!,
    );
    const [low, high] = heats.reduce(
      ([least, most], heat) => [Math.min(least, heat), Math.max(most, heat)] as const,
      [Infinity, -Infinity] as const,
    );
    const canvas = new OffscreenCanvas(width, height);
    const pixels = new ImageData(width, height);
    for (const [i, heat] of heats.entries())
      pixels.data.set([...viridis(high > low ? (heat - low) / (high - low) : 0), 255], 4 * i);
    canvas.getContext('2d')!.putImageData(pixels, 0, 0);
    return canvas.transferToImageBitmap();
  }

  /** What one token of a block attends to. */
  async attend({ stage, block, head, x, y }: AttentionRequest): Promise<AttentionMap> {
    const map = this.#attentions[stage]?.[block];
    if (map === undefined)
      throw new BackendError(
        'unexplored',
        `attend: expected block ${block} of stage ${stage} of an image that was explored, got none such; explore one first.`,
      );
    const [, heads, queries, keys] = map.shape;
    const [rows, columns] = this.#levels[stage]!.shape;
    const [row, column] = [
      Math.min(Math.floor(y * rows), rows - 1),
      Math.min(Math.floor(x * columns), columns - 1),
    ];
    // A class token stands before the map's own.
    const query = queries - rows * columns + row * columns + column;
    const shares = tf.tidy(() => {
      const asked = tf.slice(map, [0, head ?? 0, query, 0], [1, head === undefined ? heads : 1, 1, keys]);
      return tf.reshape(tf.mean(asked, 1), [keys]);
    });
    const [keyRows, keyColumns] = this.#keyGrid(stage);
    const values = ((await shares.data()) as Float32Array).subarray(keys - keyRows * keyColumns);
    shares.dispose();
    const [height, width] = this.#size;
    return {
      overlay: drawOverlay(
        width,
        height,
        (context) => drawHeatMap(context, { width: keyColumns, height: keyRows, values }, { alpha: 0.85 }),
        { tint: true },
      ),
      token: [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows],
      keys: [keyRows, keyColumns],
      strongest: Math.max(...values),
      even: 1 / keys,
    };
  }

  #keyGrid(stage: number): Size {
    const config = this.#config;
    if (config.version === 'v2' && config.linear) return [linearPoolSize, linearPoolSize];
    const [rows, columns] = this.#levels[stage]!.shape;
    return [Math.floor(rows / config.reductions[stage]!), Math.floor(columns / config.reductions[stage]!)];
  }

  architecture(size: Size): Architecture {
    const { version, dims, depths, heads, reductions } = this.#config;
    return {
      version,
      linear: this.#config.version === 'v2' && this.#config.linear,
      dims,
      depths,
      heads,
      reductions,
      ...cost(this.#config, size),
    };
  }

  forget(): void {
    tf.dispose(this.#attentions.flat());
    this.#attentions = [];
  }

  dispose(): void {
    this.forget();
    this.#backbone.dispose();
  }
}
