import type { LabelMap } from '@pvt/core';
import { createCanvas, type SKRSContext2D } from '@napi-rs/canvas';
import { classColor } from '@pvt/heads';
import { describe, expect, it } from 'vitest';
import type { CanvasContext } from './canvas.ts';
import {
  contrastRatio,
  drawDetections,
  drawPredictions,
  drawHeatMap,
  drawLabels,
  drawMask,
  drawImage,
  viridis,
  textColorOn,
} from './index.ts';

const grey = 90;
const canvasOf = (width: number, height: number): SKRSContext2D => {
  const context = createCanvas(width, height).getContext('2d');
  context.fillStyle = `rgb(${grey}, ${grey}, ${grey})`;
  context.fillRect(0, 0, width, height);
  return context;
};
const pixel = (context: SKRSContext2D, x: number, y: number) =>
  Array.from(context.getImageData(x, y, 1, 1).data.subarray(0, 3));
const mixed = (color: readonly number[], alpha: number) =>
  color.map((value) => Math.round(grey * (1 - alpha) + value * alpha));
const near = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));
const untouched = [grey, grey, grey];

describe('colors', () => {
  it('have the contrast ratio of WCAG', () => {
    expect(contrastRatio([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 6);
    // #767676 is the lightest grey that reads on white.
    expect(contrastRatio([0x76, 0x76, 0x76], [255, 255, 255])).toBeCloseTo(4.54, 2);
  });

  it('leave text readable on every class', () => {
    for (let label = 0; label < 160; label++)
      expect(contrastRatio(classColor(label), textColorOn(classColor(label)))).toBeGreaterThan(4.5);
  });

  it('go from dark to light with the value', () => {
    const luminances = Array.from({ length: 50 }, (_, i) => contrastRatio(viridis(i / 49), [0, 0, 0]));
    expect(luminances).toEqual([...luminances].sort((a, b) => a - b));
    expect([viridis(-1), viridis(2)]).toEqual([
      [0x44, 0x01, 0x54],
      [0xfd, 0xe7, 0x25],
    ]);
  });
});

describe('drawDetections', () => {
  const box = [60, 80, 200, 160] as const;

  it('draws a class’s color along its box and nothing else', () => {
    const context = canvasOf(300, 240);
    drawDetections(context, [{ box, score: 0.9, label: 3 }]);
    for (const [x, y] of [
      [130, 160],
      [60, 120],
      [200, 120],
    ] as const)
      expect(near(pixel(context, x, y), classColor(3))).toBeLessThanOrEqual(2);
    for (const [x, y] of [
      [130, 120],
      [20, 20],
      [280, 200],
    ] as const)
      expect(pixel(context, x, y)).toEqual(untouched);
  });

  it('leaves the image alone without detections', () => {
    const context = canvasOf(40, 40);
    drawDetections(context, []);
    expect(
      [...context.getImageData(0, 0, 40, 40).data].filter((value, i) => i % 4 < 3 && value !== grey),
    ).toEqual([]);
  });

  it('keeps tags apart and on the canvas, wherever the boxes are', () => {
    const context = canvasOf(400, 300);
    const tags: number[][] = [];
    const texts: string[] = [];
    const recording = new Proxy(context, {
      get: (target, key: keyof SKRSContext2D) => {
        if (key === 'fillRect') return (...rectangle: number[]) => tags.push(rectangle);
        if (key === 'fillText') return (text: string) => texts.push(text);
        const value = target[key];
        return typeof value === 'function' ? value.bind(target) : value;
      },
      set: (target, key, value) => Reflect.set(target, key, value, target),
    }) as CanvasContext;
    drawDetections(
      recording,
      [
        { box: [-20, -10, 100, 80], score: 0.5, label: 0, name: 'cat' },
        { box: [350, 250, 420, 330], score: 0.6, label: 1 },
        { box: [355, 255, 410, 320], score: 0.7, label: 2 },
        { box: [0, 0, 99, 79], score: 0.8, label: 7 },
      ],
      { names: ['', 'dog', 'cow'] },
    );
    expect(texts).toEqual(['7 80%', 'cow 70%', 'dog 60%', 'cat 50%']);
    for (const [i, [x, y, width, height]] of tags.entries()) {
      expect(x! >= 0 && y! >= 0 && x! + width! <= 400 && y! + height! <= 300).toBe(true);
      for (const [x2, y2, width2, height2] of tags.slice(i + 1)) {
        expect(x! + width! <= x2! || x2! + width2! <= x! || y! + height! <= y2! || y2! + height2! <= y!).toBe(
          true,
        );
      }
    }
  });
});

const halves: LabelMap = {
  width: 60,
  height: 40,
  labels: Uint16Array.from({ length: 2400 }, (_, i) => (i % 60 < 30 ? 0 : 5)),
};

describe('drawLabels', () => {
  it('tints classes, draws borders solid and leaves clear ones alone', () => {
    const context = canvasOf(60, 40);
    drawLabels(context, halves, { alpha: 0.4 });
    expect(near(pixel(context, 10, 20), mixed(classColor(0), 0.4))).toBeLessThanOrEqual(1);
    expect(near(pixel(context, 50, 20), mixed(classColor(5), 0.4))).toBeLessThanOrEqual(1);
    expect(near(pixel(context, 30, 20), mixed(classColor(5), 0.8))).toBeLessThanOrEqual(1);
    const half = canvasOf(60, 40);
    drawLabels(half, halves, { transparent: [0], names: ['left', 'right'] });
    expect(pixel(half, 10, 20)).toEqual(untouched);
  });

  it('names regions at their middle', () => {
    const context = canvasOf(60, 40);
    drawLabels(context, halves, { names: Object.assign([], { 5: 'x' }), fontSize: 8 });
    const at = pixel(context, 45, 16);
    expect(Math.min(near(at, classColor(5)), near(at, textColorOn(classColor(5))))).toBeLessThan(120);
    expect(near(at, mixed(classColor(5), 0.5))).toBeGreaterThan(10);
    expect(near(pixel(context, 10, 20), mixed(classColor(0), 0.5))).toBeLessThanOrEqual(1);
  });

  it('wants a canvas of the map’s size', () => {
    for (const draw of [
      () => drawLabels(canvasOf(40, 60), halves),
      () => drawMask(canvasOf(40, 60), halves),
      () => drawImage(canvasOf(2, 2), { width: 1, height: 1, data: new Uint8Array(3) }),
    ]) {
      expect(draw).toThrow(expect.objectContaining({ code: 'canvas-misfit' }));
    }
  });
});

it('drawMask tints one class', () => {
  const context = canvasOf(60, 40);
  drawMask(context, halves, 5, { color: [255, 0, 0] });
  expect(near(pixel(context, 50, 20), mixed([255, 0, 0], 0.5))).toBeLessThanOrEqual(1);
  expect(pixel(context, 10, 20)).toEqual(untouched);
});

it('drawImage is exact', () => {
  const context = createCanvas(3, 2).getContext('2d');
  const data = Uint8Array.from({ length: 18 }, (_, i) => i * 14);
  drawImage(context, { width: 3, height: 2, data });
  expect([...context.getImageData(0, 0, 3, 2).data].filter((_, i) => i % 4 < 3)).toEqual([...data]);
});

describe('drawHeatMap', () => {
  it('is brightest at the largest values, and stretches over the canvas', () => {
    const context = canvasOf(90, 30);
    drawHeatMap(context, { width: 3, height: 1, values: [0, 0.5, 1] }, { alpha: 0.9 });
    expect(near(pixel(context, 5, 15), mixed(viridis(0), 0.3))).toBeLessThanOrEqual(1);
    expect(near(pixel(context, 85, 15), mixed(viridis(1), 0.9))).toBeLessThanOrEqual(1);
  });

  it('draws a constant map as its minimum, and rejects one with missing values', () => {
    const context = canvasOf(9, 9);
    drawHeatMap(context, { width: 1, height: 1, values: [7] });
    expect(near(pixel(context, 4, 4), mixed(viridis(0), 0.25))).toBeLessThanOrEqual(1);
    expect(() => drawHeatMap(context, { width: 2, height: 2, values: [1] })).toThrow(
      expect.objectContaining({ code: 'values-misfit' }),
    );
  });
});

it('drawPredictions draws a bar as long as its probability', () => {
  const context = canvasOf(200, 200);
  drawPredictions(
    context,
    [{ label: 1, name: 'a name that is far too long for the little space that there is', probability: 0.5 }],
    { fontSize: 12 },
  );
  const row = 200 - 7 - 19 + 3 + 3;
  expect(near(pixel(context, 90, row), pixel(context, 120, row))).toBeGreaterThan(30);
  expect(pixel(context, 100, 50)).toEqual(untouched);
});
