import { preprocess } from '@pvt/adapter-image';
import {
  BackendError,
  cost,
  createPvt,
  linearPoolSize,
  type FeatureMap,
  type Image,
  type Pvt,
  type PvtConfig,
  type Size,
} from '@pvt/core';
import { drawHeatMap, viridis, type HeatMap } from '@pvt/draw';
import type { Checkpoint } from '@pvt/presets';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture, AttentionMap, AttentionRequest, Explored } from '../protocol.ts';
import { exploredSize, stretchedTo } from './inputs.ts';
import { drawOverlay } from './overlay.ts';

/** Bytes of attention maps that are retained at most, so that the visitor can click on any token. */
const attentionBytes = 160 * 2 ** 20;

/** The values of a pyramid level, read back from the backend. */
interface LevelValues {
  readonly grid: Size;
  readonly channels: number;
  /** Row-major, channels last. */
  readonly values: Float32Array;
}

/** A backbone whose pyramid, attention and cost can be looked at. */
export class Explorer {
  readonly #config: PvtConfig;
  readonly #backbone: Pvt;
  /**
   * Of the image that was explored last: its input size, its attention maps by stage and block, its pyramid.
   */
  #size: Size = [0, 0];
  #attentions: readonly (readonly tf.Tensor4D[])[] = [];
  #levels: readonly LevelValues[] = [];

  constructor({ config, source }: Checkpoint) {
    this.#config = { ...config, classes: 0 };
    this.#backbone = createPvt(this.#config, source);
  }

  /** Those of `sides` whose attention maps fit into memory, for a square input. */
  allowedSides(sides: readonly number[]): number[] {
    return sides.filter((side) => attentionBytesAt(this.#config, [side, side]) <= attentionBytes);
  }

  /** A forward pass that returns the attention maps too. The outputs belong to the caller. */
  forward(image: Image, size: Size) {
    const input = preprocess(image, stretchedTo(size));
    try {
      return this.#backbone.forward(input, { attentions: true });
    } finally {
      input.dispose();
    }
  }

  /** Runs the backbone on an image and retains what `drawLevel` and `attention` show. */
  async explore(image: Image, shortSide: number): Promise<Explored> {
    const start = performance.now();
    const size = exploredSize(image, shortSide);
    const { pyramid, embedding, attentions } = this.forward(image, size);
    embedding.dispose();
    this.#disposeAttentions();
    this.#attentions = attentions;
    this.#size = size;
    this.#levels = await Promise.all(pyramid.map(readLevel));
    const milliseconds = performance.now() - start;
    const levels = this.#backbone.features.map((feature, index) => ({
      ...feature,
      grid: this.#levels[index]!.grid,
      bitmap: this.drawLevel(index),
    }));
    return { size, levels, milliseconds };
  }

  /** A level as a heat map of one channel, or of the norm over all channels at each position. */
  drawLevel(index: number, channel?: number): ImageBitmap {
    const { grid, channels, values } = this.#levels[index]!;
    const [height, width] = grid;
    const heats = Float32Array.from({ length: height * width }, (_, i) =>
      channel === undefined
        ? Math.hypot(...values.subarray(i * channels, (i + 1) * channels))
        : values[i * channels + channel]!,
    );
    return drawPixels({ width, height, values: heats });
  }

  /** What one token of a block attends to. */
  async attention({ stage, block, head, x, y }: AttentionRequest): Promise<AttentionMap> {
    const map = this.#attentions[stage]?.[block];
    if (map === undefined)
      throw new BackendError(
        'unexplored',
        `attention: expected block ${block} of stage ${stage} of an explored image, got none; ` +
          'explore an image first.',
      );
    const [rows, columns] = this.#levels[stage]!.grid;
    const row = Math.min(Math.floor(y * rows), rows - 1);
    const column = Math.min(Math.floor(x * columns), columns - 1);
    const [, , queries, keys] = map.shape;
    // A class token comes before the tokens of the map, among the queries and among the keys.
    const query = queries - rows * columns + row * columns + column;
    const [keyRows, keyColumns] = this.#keyGrid(stage);
    const weights = (await attentionWeights(map, query, head)).subarray(keys - keyRows * keyColumns);
    return {
      overlay: this.#drawAttention({ width: keyColumns, height: keyRows, values: weights }),
      token: [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows],
      keys: [keyRows, keyColumns],
      strongest: Math.max(...weights),
      uniform: 1 / keys,
    };
  }

  #drawAttention(heats: HeatMap): ImageBitmap {
    const [height, width] = this.#size;
    return drawOverlay(width, height, (context) => drawHeatMap(context, heats, { alpha: 0.85 }), {
      tint: true,
    });
  }

  #keyGrid(stage: number): Size {
    const config = this.#config;
    if (config.version === 'v2' && config.linear) return [linearPoolSize, linearPoolSize];
    const [rows, columns] = this.#levels[stage]!.grid;
    const reduction = config.reductions[stage]!;
    return [Math.floor(rows / reduction), Math.floor(columns / reduction)];
  }

  architecture(size: Size): Architecture {
    return { config: this.#config, cost: cost(this.#config, size) };
  }

  #disposeAttentions(): void {
    tf.dispose(this.#attentions.flat());
    this.#attentions = [];
  }

  dispose(): void {
    this.#disposeAttentions();
    this.#backbone.dispose();
  }
}

/** Bytes of the attention maps of all blocks, in float32. */
function attentionBytesAt(config: PvtConfig, size: Size): number {
  const { stages } = cost(config, size);
  let bytes = 0;
  for (const { stage, attentionMap } of stages) {
    const [heads, tokens, keyTokens] = attentionMap;
    bytes += 4 * config.depths[stage]! * heads * tokens * keyTokens;
  }
  return bytes;
}

/** Reads a level's values and disposes of its tensor. */
async function readLevel({ tensor, channels }: FeatureMap): Promise<LevelValues> {
  const [, height, width] = tensor.shape;
  const values = (await tensor.data()) as Float32Array;
  tensor.dispose();
  return { grid: [height, width], channels, values };
}

/** The attention weights of one query over all keys, of one head or as the mean over heads. */
async function attentionWeights(
  map: tf.Tensor4D,
  query: number,
  head: number | undefined,
): Promise<Float32Array> {
  const [, heads, , keys] = map.shape;
  const weights = tf.tidy(() => {
    const count = head === undefined ? heads : 1;
    const rows = tf.slice(map, [0, head ?? 0, query, 0], [1, count, 1, keys]);
    return tf.reshape(tf.mean(rows, 1), [keys]);
  });
  try {
    return (await weights.data()) as Float32Array;
  } finally {
    weights.dispose();
  }
}

/** A heat map with one pixel per value, from the smallest value to the largest. */
function drawPixels({ width, height, values }: HeatMap): ImageBitmap {
  let [least, most] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    least = Math.min(least, values[i]!);
    most = Math.max(most, values[i]!);
  }
  const canvas = new OffscreenCanvas(width, height);
  const pixels = new ImageData(width, height);
  for (let i = 0; i < values.length; i++) {
    const heat = most > least ? (values[i]! - least) / (most - least) : 0;
    pixels.data.set([...viridis(heat), 255], 4 * i);
  }
  canvas.getContext('2d')!.putImageData(pixels, 0, 0);
  return canvas.transferToImageBitmap();
}
