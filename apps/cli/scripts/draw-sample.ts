/** Draws the sample image, assets/sample.png: a ship on the sea at the end of the day. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createRandom } from '@pvt/core';
import { createCanvas, type SKRSContext2D } from '@napi-rs/canvas';

const [width, height] = [640, 480];
const horizon = 300;
const canvas = createCanvas(width, height);
const context = canvas.getContext('2d');
const random = createRandom('sample');

function gradient(fromY: number, toY: number, stops: readonly (readonly [at: number, color: string])[]) {
  const fill = context.createLinearGradient(0, fromY, 0, toY);
  for (const [at, color] of stops) fill.addColorStop(at, color);
  return fill;
}

function polygon(points: readonly (readonly [x: number, y: number])[], fill: SKRSContext2D['fillStyle']) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.closePath();
  context.fillStyle = fill;
  context.fill();
}

function rectangle(x: number, y: number, w: number, h: number, fill: SKRSContext2D['fillStyle']) {
  context.fillStyle = fill;
  context.fillRect(x, y, w, h);
}

// Sky, with clouds as heaps of soft discs.
rectangle(
  0,
  0,
  width,
  horizon,
  gradient(0, horizon, [
    [0, '#5d93c9'],
    [0.6, '#a9cbe4'],
    [1, '#f1e3cf'],
  ]),
);
for (const [x, y, scale] of [
  [110, 85, 1],
  [330, 50, 0.7],
  [545, 110, 1.1],
] as const) {
  for (let i = 0; i < 26; i++) {
    const radius = scale * (16 + 22 * random.uniform());
    const [left, top] = [x + scale * 46 * random.normal() * 0.9, y + scale * 9 * random.normal()];
    const puff = context.createRadialGradient(left, top, 0, left, top, radius);
    puff.addColorStop(0, 'rgba(255,255,255,0.42)');
    puff.addColorStop(1, 'rgba(255,255,255,0)');
    context.fillStyle = puff;
    context.fillRect(left - radius, top - radius, 2 * radius, 2 * radius);
  }
}

// Sea: strokes that grow longer and darker towards the viewer.
rectangle(
  0,
  horizon,
  width,
  height - horizon,
  gradient(horizon, height, [
    [0, '#7fa6bf'],
    [0.25, '#3f7698'],
    [1, '#173f5f'],
  ]),
);
for (let i = 0; i < 1500; i++) {
  const depth = random.uniform() ** 1.6;
  const y = horizon + 2 + depth * (height - horizon);
  const length = (4 + 34 * depth) * (0.5 + random.uniform());
  context.strokeStyle =
    random.uniform() < 0.45
      ? `rgba(214,232,240,${0.1 + 0.25 * random.uniform()})`
      : `rgba(14,48,78,${0.12 + 0.25 * random.uniform()})`;
  context.lineWidth = 0.8 + 2.2 * depth;
  const x = random.uniform() * width;
  context.beginPath();
  context.moveTo(x, y);
  context.quadraticCurveTo(x + length / 2, y - 2.5 * depth - 1, x + length, y);
  context.stroke();
}

// The ship: hull, decks, funnels, masts.
const hull = [
  [96, 268],
  [560, 262],
  [530, 352],
  [140, 352],
] as const;
polygon(
  hull,
  gradient(262, 352, [
    [0, '#2c3440'],
    [0.68, '#1b222c'],
    [0.7, '#8f2f2a'],
    [1, '#6d211f'],
  ]),
);
polygon(
  [
    [96, 268],
    [560, 262],
    [558, 269],
    [98, 276],
  ],
  '#e9ebea',
);
rectangle(
  170,
  226,
  330,
  42,
  gradient(226, 268, [
    [0, '#ffffff'],
    [1, '#d3d8da'],
  ]),
);
rectangle(
  196,
  192,
  262,
  34,
  gradient(192, 226, [
    [0, '#fbfbf8'],
    [1, '#cfd5d8'],
  ]),
);
rectangle(
  228,
  166,
  84,
  26,
  gradient(166, 192, [
    [0, '#ffffff'],
    [1, '#c9d0d4'],
  ]),
);
for (let x = 182; x < 490; x += 17) rectangle(x, 240, 9, 9, '#3e5568');
for (let x = 208; x < 446; x += 17) rectangle(x, 203, 9, 9, '#3e5568');
rectangle(236, 173, 68, 8, '#2f4557');
for (let x = 150; x < 520; x += 26) {
  context.beginPath();
  context.arc(x, 292, 4, 0, 2 * Math.PI);
  context.fillStyle = '#c9d3d8';
  context.fill();
}
for (const x of [338, 398]) {
  polygon(
    [
      [x, 192],
      [x + 4, 124],
      [x + 38, 124],
      [x + 42, 192],
    ],
    gradient(124, 192, [
      [0, '#20262c'],
      [0.24, '#20262c'],
      [0.25, '#c8452f'],
      [1, '#a93522'],
    ]),
  );
  for (let i = 0; i < 14; i++) {
    const [left, top, radius] = [
      x + 22 + i * 9 + 5 * random.normal(),
      114 - i * 3.4 + 4 * random.normal(),
      9 + i * 1.6,
    ];
    const smoke = context.createRadialGradient(left, top, 0, left, top, radius);
    smoke.addColorStop(0, `rgba(70,74,80,${0.3 - i * 0.018})`);
    smoke.addColorStop(1, 'rgba(70,74,80,0)');
    context.fillStyle = smoke;
    context.fillRect(left - radius, top - radius, 2 * radius, 2 * radius);
  }
}
context.strokeStyle = '#39424c';
context.lineWidth = 4;
for (const [x, top, bottom] of [
  [150, 130, 268],
  [500, 140, 264],
] as const) {
  context.beginPath();
  context.moveTo(x, bottom);
  context.lineTo(x, top);
  context.stroke();
}
context.lineWidth = 1.2;
context.strokeStyle = 'rgba(57,66,76,0.8)';
for (const [x1, y1, x2, y2] of [
  [150, 132, 100, 268],
  [150, 132, 232, 168],
  [500, 142, 556, 263],
  [500, 142, 440, 190],
] as const) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

// Foam and the hull's reflection.
rectangle(
  140,
  352,
  392,
  34,
  gradient(352, 386, [
    [0, 'rgba(12,26,40,0.65)'],
    [1, 'rgba(12,26,40,0)'],
  ]),
);
for (let i = 0; i < 240; i++) {
  const x = 118 + random.uniform() * 440;
  const bow = Math.max(0, 1 - Math.abs(x - 138) / 60);
  context.fillStyle = `rgba(255,255,255,${0.15 + 0.4 * random.uniform()})`;
  context.beginPath();
  context.ellipse(
    x,
    352 + 5 * random.normal() * (1 + bow),
    4 + 10 * random.uniform(),
    1 + 1.5 * random.uniform() + 2 * bow,
    0,
    0,
    2 * Math.PI,
  );
  context.fill();
}

writeFileSync(fileURLToPath(new URL('../assets/sample.png', import.meta.url)), canvas.toBuffer('image/png'));
