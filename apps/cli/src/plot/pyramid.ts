import { linearPoolSize, type PvtConfig, type Preprocessing, type StageCost } from '@pvt/core';
import { createCanvas, fontFamily, pixels, type Canvas } from './canvas.ts';
import { colorAt, colorMaps, colorOf, principalComponents, stretch, type Rgb } from './colors.ts';

/** What a plot shows: the first image of a batch. */
export interface PyramidPlot {
  readonly title: string;
  readonly subtitle: string;
  /** [N, height, width, 3] as the model took it, and how it was normalized. */
  readonly input: {
    readonly height: number;
    readonly width: number;
    readonly values: Float32Array;
    readonly normalize: Preprocessing['normalize'];
  };
  readonly config: PvtConfig;
  readonly stages: readonly StageCost[];
  /** Per stage, [N, h, w, C]. */
  readonly levels: readonly Float32Array[];
  /** Per stage the last block's map, [N, heads, tokens, K/V tokens]; empty for none. */
  readonly attentions: readonly { readonly shape: readonly number[]; readonly values: Float32Array }[];
}

const margin = 56;
const gap = 28;
const cellWidth = 320;
const ink = '#1c1e21';
const gray = '#6a7076';

/**
 * Draws the image and its pyramid: a column for each stage; rows for principal components, energy and
 * attention.
 *
 * @returns the bytes of a PNG
 */
export function drawPyramid(plot: PyramidPlot): Buffer {
  const { title, subtitle, input, stages } = plot;
  const page = createPage(plot);
  page.write(title, margin, margin + 24, { size: 30, weight: 600, color: ink });
  page.write(subtitle, margin, margin + 56, { size: 19 });

  const left = page.column(0);
  page.write('input', left, page.top - 44, { size: 20, weight: 600, color: ink });
  page.write(`${input.height} × ${input.width}, as the model sees it`, left, page.top - 18);
  page.drawCell(pixels(imageColors(input), input.height, input.width), left, page.row(0), { smooth: true });

  for (const index of stages.keys()) drawStage(page, plot, index);
  drawLegends(page, plot.attentions.length > 0);
  return page.canvas.toBuffer('image/png');
}

/** A canvas divided into cells: the input in the first column, a column for each stage. */
function createPage({ input, stages, attentions }: PyramidPlot) {
  const cellHeight = Math.round(cellWidth * Math.min(Math.max(input.height / input.width, 0.65), 1.5));
  const rows = attentions.length > 0 ? 3 : 2;
  const top = margin + 160;
  const canvas = createCanvas(
    2 * margin + (stages.length + 1) * (cellWidth + gap) - gap,
    top + rows * (cellHeight + gap) - gap + margin,
  );
  const context = canvas.getContext('2d');
  context.fillStyle = '#ffffff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  return {
    canvas,
    context,
    /** Where the first row begins. */
    top,
    column: (index: number) => margin + index * (cellWidth + gap),
    row: (index: number) => top + index * (cellHeight + gap),
    write(text: string, x: number, y: number, { size = 17, weight = 400, color = gray }: TextStyle = {}) {
      context.font = `${weight} ${size}px ${fontFamily}`;
      context.fillStyle = color;
      context.fillText(text, x, y, canvas.width - margin - x);
    },
    /** An image in the middle of a cell, with the input's aspect ratio and round corners. */
    drawCell(image: Canvas, x: number, y: number, { smooth = false, alpha = 1 } = {}) {
      const scale = Math.min(cellWidth / input.width, cellHeight / input.height);
      const [width, height] = [input.width * scale, input.height * scale];
      const [left, upper] = [x + (cellWidth - width) / 2, y + (cellHeight - height) / 2];
      context.save();
      context.beginPath();
      context.roundRect(left, upper, width, height, 8);
      context.clip();
      context.globalAlpha = alpha;
      context.imageSmoothingEnabled = smooth;
      context.imageSmoothingQuality = 'high';
      context.drawImage(image, left, upper, width, height);
      context.restore();
    },
  };
}

interface TextStyle {
  readonly size?: number;
  readonly weight?: 400 | 600;
  readonly color?: string;
}

type Page = ReturnType<typeof createPage>;

/** A stage's column: principal components, energy and, if there is any, attention. */
function drawStage(
  page: Page,
  { input, config, stages, levels, attentions }: PyramidPlot,
  index: number,
): void {
  const stage = stages[index]!;
  const [height, width] = stage.grid;
  const channels = config.dims[index]!;
  const level = levels[index]!.subarray(0, height * width * channels);
  const x = page.column(index + 1);
  page.write(`stage ${index + 1}, stride ${stage.stride}`, x, page.top - 44, {
    size: 20,
    weight: 600,
    color: ink,
  });
  page.write(
    `${height} × ${width} × ${channels}  ·  ${stage.tokens} tokens, ${stage.keyTokens} K/V`,
    x,
    page.top - 18,
  );
  page.drawCell(pixels(colorOf(principalComponents(level, channels, 3)), height, width), x, page.row(0));
  page.drawCell(pixels(heat(energy(level, channels), colorMaps.viridis), height, width), x, page.row(1));
  const attention = attentions[index];
  if (!attention) return;
  const [keyHeight, keyWidth] = keyGrid(config, index, stage);
  page.drawCell(pixels(imageColors(input, true), input.height, input.width), x, page.row(2), {
    smooth: true,
  });
  page.drawCell(
    pixels(heat(meanAttention(attention, keyHeight * keyWidth), colorMaps.inferno), keyHeight, keyWidth),
    x,
    page.row(2),
    { alpha: 0.72 },
  );
}

/** What each row shows, below the input. */
function drawLegends(page: Page, withAttention: boolean): void {
  const left = page.column(0);
  let y = page.row(1);
  const legend = (name: string, lines: readonly string[], map?: readonly Rgb[]) => {
    page.write(name, left, y + 20, { size: 19, weight: 600, color: ink });
    for (const [index, line] of lines.entries()) page.write(line, left, y + 48 + 23 * index);
    y += 44 + 23 * lines.length;
    if (map) {
      drawScale(page, map, left, y);
      y += 36;
    }
    y += 8;
  };
  legend('first row: what is alike', [
    'the three main directions in which',
    'a level varies (PCA), as lightness and',
    'hue: alike colors, alike features',
  ]);
  legend(
    'second row: how strong',
    ['length of the channel vector,', 'from least to most in its level'],
    colorMaps.viridis,
  );
  y = Math.max(y, page.row(2));
  if (!withAttention) return;
  legend(
    'third row: what is attended to',
    [
      'share of attention that each K/V token',
      'gets in the last block, mean over heads',
      'and queries, from least to most',
    ],
    colorMaps.inferno,
  );
}

function drawScale({ context, write }: Page, map: readonly Rgb[], x: number, y: number): void {
  const shades = Array.from({ length: 256 }, (_, share) => colorAt(map, share / 255));
  context.drawImage(pixels(shades, 1, 256), x, y, 160, 12);
  write('low', x, y + 30, { size: 15 });
  write('high', x + 130, y + 30, { size: 15 });
}

/** The first image as 8-bit colors again; without a known normalization, stretched to the whole range. */
function imageColors({ height, width, values, normalize }: PyramidPlot['input'], dull = false): Rgb[] {
  const first = values.subarray(0, height * width * 3);
  const shares = normalize
    ? Float64Array.from(first, (value, i) => value * normalize.std[i % 3]! + normalize.mean[i % 3]!)
    : stretch(first);
  return Array.from({ length: height * width }, (_, i) => {
    const channel = (c: number) => 255 * Math.min(Math.max(shares[3 * i + c]!, 0), 1);
    const color: Rgb = [channel(0), channel(1), channel(2)];
    if (!dull) return color;
    const gray = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2];
    return [gray, gray, gray];
  });
}

const heat = (values: ArrayLike<number>, map: readonly Rgb[]): Rgb[] =>
  stretch(values).map((share) => colorAt(map, share));

/** Length of each position's channel vector. */
const energy = (level: Float32Array, channels: number): Float64Array =>
  Float64Array.from({ length: level.length / channels }, (_, position) =>
    Math.hypot(...level.subarray(position * channels, (position + 1) * channels)),
  );

function keyGrid(config: PvtConfig, index: number, { grid }: StageCost): readonly [number, number] {
  if (config.version === 'v2' && config.linear) return [linearPoolSize, linearPoolSize];
  const [height, width] = grid;
  const reduction = config.reductions[index]!;
  return [Math.floor(height / reduction), Math.floor(width / reduction)];
}

/** Mean over heads and queries; a class token in front of the map's own tokens is left out. */
function meanAttention(
  { shape, values }: PyramidPlot['attentions'][number],
  positions: number,
): Float64Array {
  const [, heads = 1, queries = 1, keys = 1] = shape;
  const mean = new Float64Array(positions);
  for (let i = 0; i < heads * queries; i++) {
    for (let position = 0; position < positions; position++)
      mean[position]! += values[i * keys + keys - positions + position]! / (heads * queries);
  }
  return mean;
}
