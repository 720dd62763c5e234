import { linearPoolSize, type PvtConfig, type Preprocessing, type StageCost } from '@pvt/core';
import { createCanvas, fontFamily, pixels, type Canvas } from './canvas.ts';
import { colourAt, colourMaps, colourOf, principalComponents, stretch, type Rgb } from './colours.ts';

/** What a plot shows; of a batch, the first image. */
export interface PyramidPlot {
  readonly title: string;
  readonly subtitle: string;
  /** [N, height, width, 3] as the model took it, and how it was normalised. */
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
const grey = '#6a7076';

/**
 * Draws the image and its pyramid: a column for each stage; rows for principal components, energy and attention.
 *
 * @returns the bytes of a PNG
 */
export function drawPyramid({
  title,
  subtitle,
  input,
  config,
  stages,
  levels,
  attentions,
}: PyramidPlot): Buffer {
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

  const write = (
    text: string,
    x: number,
    y: number,
    { size = 17, weight = 400, colour = grey }: { size?: number; weight?: 400 | 600; colour?: string } = {},
  ) => {
    context.font = `${weight} ${size}px ${fontFamily}`;
    context.fillStyle = colour;
    context.fillText(text, x, y, canvas.width - margin - x);
  };
  const column = (index: number) => margin + index * (cellWidth + gap);
  const row = (index: number) => top + index * (cellHeight + gap);
  const place = (image: Canvas, x: number, y: number, { smooth = false, alpha = 1 } = {}) => {
    const scale = Math.min(cellWidth / input.width, cellHeight / input.height);
    const [width, height] = [input.width * scale, input.height * scale];
    context.save();
    context.beginPath();
    context.roundRect(x + (cellWidth - width) / 2, y + (cellHeight - height) / 2, width, height, 8);
    context.clip();
    context.globalAlpha = alpha;
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, x + (cellWidth - width) / 2, y + (cellHeight - height) / 2, width, height);
    context.restore();
  };

  write(title, margin, margin + 24, { size: 30, weight: 600, colour: ink });
  write(subtitle, margin, margin + 56, { size: 19 });

  const image = pixels(imageColours(input), input.height, input.width);
  write('input', column(0), top - 44, { size: 20, weight: 600, colour: ink });
  write(`${input.height} × ${input.width}, as the model sees it`, column(0), top - 18);
  place(image, column(0), row(0), { smooth: true });

  for (const [index, stage] of stages.entries()) {
    const [height, width] = stage.grid;
    const channels = config.dims[index]!;
    const level = levels[index]!.subarray(0, height * width * channels);
    const x = column(index + 1);
    write(`stage ${index + 1}, stride ${stage.stride}`, x, top - 44, { size: 20, weight: 600, colour: ink });
    write(
      `${height} × ${width} × ${channels}  ·  ${stage.tokens} tokens, ${stage.keyTokens} K/V`,
      x,
      top - 18,
    );
    place(pixels(colourOf(principalComponents(level, channels, 3)), height, width), x, row(0));
    place(pixels(heat(energy(level, channels), colourMaps.viridis), height, width), x, row(1));
    const attention = attentions[index];
    if (!attention) continue;
    const [keyHeight, keyWidth] = keyGrid(config, index, stage);
    place(pixels(imageColours(input, true), input.height, input.width), x, row(2), { smooth: true });
    place(
      pixels(heat(meanAttention(attention, keyHeight * keyWidth), colourMaps.inferno), keyHeight, keyWidth),
      x,
      row(2),
      { alpha: 0.72 },
    );
  }

  let y = row(1);
  const legend = (name: string, lines: readonly string[], map?: readonly Rgb[]) => {
    write(name, column(0), y + 20, { size: 19, weight: 600, colour: ink });
    for (const [index, line] of lines.entries()) write(line, column(0), y + 48 + 23 * index);
    y += 44 + 23 * lines.length;
    if (map) {
      const shades = pixels(
        Array.from({ length: 256 }, (_, share) => colourAt(map, share / 255)),
        1,
        256,
      );
      context.drawImage(shades, column(0), y, 160, 12);
      write('low', column(0), y + 30, { size: 15 });
      write('high', column(0) + 130, y + 30, { size: 15 });
      y += 36;
    }
    y += 8;
  };
  legend('first row: what is alike', [
    'the three main directions in which',
    'a level varies (PCA), as lightness and',
    'hue: alike colours, alike features',
  ]);
  legend(
    'second row: how strong',
    ['length of the channel vector,', 'from least to most in its level'],
    colourMaps.viridis,
  );
  y = Math.max(y, row(2));
  if (attentions.length > 0)
    legend(
      'third row: what is attended to',
      [
        'share of attention that each K/V token',
        'gets in the last block, mean over heads',
        'and queries, from least to most',
      ],
      colourMaps.inferno,
    );
  return canvas.toBuffer('image/png');
}

/** The first image back as 8-bit colours; without a known normalisation, stretched to the whole range. */
function imageColours({ height, width, values, normalize }: PyramidPlot['input'], dull = false): Rgb[] {
  const first = values.subarray(0, height * width * 3);
  const shares = normalize
    ? Float64Array.from(first, (value, i) => value * normalize.std[i % 3]! + normalize.mean[i % 3]!)
    : stretch(first);
  return Array.from({ length: height * width }, (_, i) => {
    const colour = [0, 1, 2].map(
      (channel) => 255 * Math.min(Math.max(shares[3 * i + channel]!, 0), 1),
    ) as unknown as Rgb;
    if (!dull) return colour;
    const grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2];
    return [grey, grey, grey];
  });
}

const heat = (values: ArrayLike<number>, map: readonly Rgb[]): Rgb[] =>
  stretch(values).map((share) => colourAt(map, share));

/** Length of each position's channel vector. */
const energy = (level: Float32Array, channels: number): Float64Array =>
  Float64Array.from({ length: level.length / channels }, (_, position) =>
    Math.hypot(...level.subarray(position * channels, (position + 1) * channels)),
  );

function keyGrid(config: PvtConfig, index: number, { grid }: StageCost): readonly [number, number] {
  if (config.version === 'v2' && config.linear) return [linearPoolSize, linearPoolSize];
  return grid.map((side) => Math.floor(side / config.reductions[index]!)) as [number, number];
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
