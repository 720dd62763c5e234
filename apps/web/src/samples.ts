/** Images to try the models with: drawn here, for no photo comes along. */
import ship from '../../cli/assets/sample.png?url';
import type { TaskName } from './protocol.ts';

export interface Sample {
  readonly id: string;
  readonly title: string;
  /** Tasks that it suits, what it was drawn for first. */
  readonly tasks: readonly TaskName[];
  draw(): Promise<ImageBitmap>;
}

type Context = OffscreenCanvasRenderingContext2D;
const everything: readonly TaskName[] = ['classify', 'segment', 'detect', 'explore', 'tune'];

/** Numbers in [0, 1) that are the same for everybody. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

const drawn =
  (width: number, height: number, work: (context: Context, random: () => number) => void) =>
  async (): Promise<ImageBitmap> => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d')!;
    work(context, randomFrom(7));
    return canvas.transferToImageBitmap();
  };

type Stops = readonly (readonly [at: number, color: string])[];

function gradient(context: Context, fromY: number, toY: number, stops: Stops): CanvasGradient {
  const fill = context.createLinearGradient(0, fromY, 0, toY);
  for (const [at, color] of stops) fill.addColorStop(at, color);
  return fill;
}

function ball(context: Context, x: number, y: number, radius: number, stops: Stops): void {
  const fill = context.createRadialGradient(x, y, 0, x, y, radius);
  for (const [at, color] of stops) fill.addColorStop(at, color);
  context.fillStyle = fill;
  context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
}

function shape(context: Context, fill: string | CanvasGradient, path: string): void {
  context.fillStyle = fill;
  context.save();
  context.clip(new Path2D(path));
  context.fillRect(-1000, -1000, 3000, 3000);
  context.restore();
}

function clouds(
  context: Context,
  random: () => number,
  places: readonly (readonly [x: number, y: number, scale: number])[],
): void {
  for (const [x, y, scale] of places) {
    for (let i = 0; i < 30; i++) {
      const spread = random() + random() - 1;
      ball(
        context,
        x + scale * 90 * spread,
        y + scale * 16 * (random() - 0.5) * (1.4 - Math.abs(spread)),
        scale * (14 + 24 * random()),
        [
          [0, 'rgba(255,255,255,0.5)'],
          [1, 'rgba(255,255,255,0)'],
        ],
      );
    }
  }
}

const airplane = drawn(640, 480, (context, random) => {
  context.fillStyle = gradient(context, 0, 480, [
    [0, '#3f7fc4'],
    [0.6, '#8dbbe4'],
    [1, '#d5e6f2'],
  ]);
  context.fillRect(0, 0, 640, 480);
  clouds(context, random, [
    [130, 110, 1.1],
    [520, 80, 0.8],
    [90, 380, 1.2],
    [470, 410, 1.5],
  ]);
  context.translate(320, 240);
  context.rotate(-0.13);
  context.translate(-320, -240);
  // The far wing and stabiliser, the body, the near ones over it.
  shape(context, '#b4bcc6', 'M330 225 L392 128 L420 128 L394 226 Z');
  shape(context, '#b4bcc6', 'M142 226 L120 180 L138 180 L178 226 Z');
  shape(
    context,
    gradient(context, 208, 272, [
      [0, '#ffffff'],
      [0.55, '#e8ecf0'],
      [1, '#8f9aa6'],
    ]),
    'M96 238 C110 216 160 212 220 211 L470 210 C520 210 556 224 570 238 C556 256 520 266 470 267 L230 268 C160 266 110 256 96 238 Z',
  );
  shape(context, '#1d4f91', 'M100 236 L84 150 L128 150 L186 213 C140 216 116 222 100 236 Z');
  shape(context, '#2b3948', 'M524 220 C540 224 550 229 556 233 L528 234 Z');
  context.fillStyle = '#43566b';
  for (let x = 200; x < 505; x += 15) context.fillRect(x, 226, 7, 9);
  context.fillStyle = '#1d4f91';
  context.fillRect(120, 246, 430, 5);
  shape(
    context,
    gradient(context, 250, 380, [
      [0, '#dfe4e9'],
      [1, '#9aa4b0'],
    ]),
    'M366 252 L232 378 L198 380 L276 254 Z',
  );
  shape(
    context,
    gradient(context, 240, 290, [
      [0, '#dfe4e9'],
      [1, '#9aa4b0'],
    ]),
    'M166 246 L98 292 L78 292 L120 246 Z',
  );
  for (const [x, y] of [
    [292, 296],
    [250, 336],
  ] as const) {
    shape(
      context,
      gradient(context, y - 12, y + 12, [
        [0, '#f6f8fa'],
        [1, '#6f7c8a'],
      ]),
      `M${x - 26} ${y} a10 12 0 0 1 10 -12 L${x + 22} ${y - 12} a8 12 0 0 1 0 24 L${x - 16} ${y + 12} a10 12 0 0 1 -10 -12 Z`,
    );
    shape(context, '#2b3948', `M${x + 18} ${y - 11} a8 11 0 0 1 0 22 a8 11 0 0 1 0 -22 Z`);
  }
});

const automobile = drawn(640, 480, (context, random) => {
  context.fillStyle = gradient(context, 0, 260, [
    [0, '#8fb8dd'],
    [1, '#e6eef2'],
  ]);
  context.fillRect(0, 0, 640, 260);
  clouds(context, random, [
    [130, 60, 0.8],
    [480, 90, 1],
  ]);
  shape(context, '#7d9a6b', 'M0 250 C90 205 190 232 300 226 C420 218 520 196 640 236 L640 300 L0 300 Z');
  context.fillStyle = gradient(context, 285, 480, [
    [0, '#8a8d90'],
    [1, '#55585c'],
  ]);
  context.fillRect(0, 285, 640, 195);
  for (let i = 0; i < 900; i++) {
    context.fillStyle = random() < 0.5 ? 'rgba(255,255,255,0.07)' : 'rgba(0,0,0,0.09)';
    context.fillRect(640 * random(), 288 + 190 * random(), 3 + 5 * random(), 1.5);
  }
  shape(
    context,
    '#e8e2c8',
    'M40 438 L150 438 L142 450 L28 450 Z M260 438 L370 438 L372 450 L258 450 Z M480 438 L590 438 L602 450 L490 450 Z',
  );
  shape(context, 'rgba(0,0,0,0.45)', 'M86 384 C200 372 460 372 566 384 C580 402 80 404 86 384 Z');
  shape(
    context,
    gradient(context, 180, 380, [
      [0, '#d9413a'],
      [0.5, '#b92a28'],
      [1, '#6d1517'],
    ]),
    'M84 342 C80 300 96 286 150 276 L206 268 C240 216 268 196 330 192 C400 190 436 206 478 262 C540 270 562 286 566 318 L568 352 C566 368 556 372 540 372 L112 372 C94 372 86 364 84 342 Z',
  );
  shape(
    context,
    gradient(context, 200, 268, [
      [0, '#d4e4ee'],
      [1, '#5f7a8d'],
    ]),
    'M232 264 C254 224 278 208 320 206 L320 264 Z M332 206 C392 204 420 216 452 262 L332 264 Z',
  );
  shape(context, '#f6e7a8', 'M88 304 C96 296 110 296 118 302 L112 318 C100 320 92 316 88 304 Z');
  shape(context, '#ff9a86', 'M560 300 C552 294 544 294 540 298 L544 318 L566 318 Z');
  context.strokeStyle = 'rgba(60,8,10,0.7)';
  context.lineWidth = 2.5;
  context.stroke(new Path2D('M326 206 L326 364 M206 270 L220 362 M478 264 L462 362 M92 336 L560 336'));
  shape(context, '#d8dde1', 'M346 290 h26 v6 h-26 Z M240 290 h26 v6 h-26 Z');
  for (const x of [174, 474]) {
    ball(context, x, 366, 50, [
      [0, '#1b1c1e'],
      [0.97, '#1b1c1e'],
      [1, 'rgba(27,28,30,0)'],
    ]);
    ball(context, x, 366, 27, [
      [0, '#f0f2f4'],
      [0.55, '#c3c8cd'],
      [0.93, '#7f868d'],
      [1, 'rgba(127,134,141,0)'],
    ]);
    for (let spoke = 0; spoke < 5; spoke++) {
      const angle = (spoke * 2 * Math.PI) / 5 - Math.PI / 2;
      ball(context, x + 15 * Math.cos(angle), 366 + 15 * Math.sin(angle), 6, [
        [0, '#3d4348'],
        [0.9, '#3d4348'],
        [1, 'rgba(61,67,72,0)'],
      ]);
    }
  }
});

/** Bright cell nuclei on a dark ground, as under a fluorescence microscope. */
const nuclei = drawn(512, 384, (context, random) => {
  context.fillStyle = '#0a0b0e';
  context.fillRect(0, 0, 512, 384);
  const placed: [number, number, number][] = [];
  for (let tries = 0; placed.length < 46 && tries < 3000; tries++) {
    const [x, y, radius] = [512 * random(), 384 * random(), 11 + 11 * random()];
    if (placed.every(([ox, oy, other]) => Math.hypot(x - ox, y - oy) > 0.93 * (radius + other)))
      placed.push([x, y, radius]);
  }
  for (const [x, y, radius] of placed) {
    context.save();
    context.translate(x, y);
    context.rotate(Math.PI * random());
    context.scale(1, 0.68 + 0.3 * random());
    const light = 105 + 120 * random();
    const grey = (share: number, alpha = 1) =>
      `rgba(${light * share},${light * share},${light * share + 6},${alpha})`;
    ball(context, 0, 0, radius * 1.25, [
      [0, grey(1)],
      [0.55, grey(0.93)],
      [0.76, grey(0.8)],
      [0.84, grey(0.4, 0.7)],
      [1, grey(0.2, 0)],
    ]);
    for (let i = 0; i < 7; i++)
      ball(context, radius * (random() - 0.5), radius * (random() - 0.5), 2 + 3 * random(), [
        [0, `rgba(255,255,255,${0.16 * random()})`],
        [1, 'rgba(255,255,255,0)'],
      ]);
    context.restore();
  }
});

/** Red cells, two white ones and platelets, as in a stained smear. */
const blood = drawn(640, 480, (context, random) => {
  context.fillStyle = gradient(context, 0, 480, [
    [0, '#ece1dc'],
    [1, '#e4d6d3'],
  ]);
  context.fillRect(0, 0, 640, 480);
  const white: readonly [number, number, number][] = [
    [206, 168, 66],
    [470, 330, 60],
  ];
  const placed: [number, number, number][] = [...white];
  for (let tries = 0; placed.length < 24 && tries < 4000; tries++) {
    const [x, y, radius] = [640 * random(), 480 * random(), 37 + 8 * random()];
    if (placed.every(([ox, oy, other]) => Math.hypot(x - ox, y - oy) > 0.9 * (radius + other)))
      placed.push([x, y, radius]);
  }
  for (const [x, y, radius] of placed.slice(white.length))
    ball(context, x, y, radius, [
      [0, '#e2c3bd'],
      [0.3, '#d9aca6'],
      [0.62, '#cb8c88'],
      [0.9, '#c2807e'],
      [0.97, '#b87675'],
      [1, 'rgba(184,118,117,0)'],
    ]);
  for (const [x, y, radius] of white) {
    ball(context, x, y, radius, [
      [0, '#cdb6d8'],
      [0.86, '#c6b0d4'],
      [0.97, '#b79fc9'],
      [1, 'rgba(183,159,201,0)'],
    ]);
    for (const [dx, dy, size] of [
      [-18, -10, 30],
      [16, -18, 28],
      [10, 18, 30],
      [-14, 20, 24],
    ] as const)
      ball(context, x + dx, y + dy, size, [
        [0, '#5b3a86'],
        [0.75, '#65418f'],
        [0.95, '#7551a0'],
        [1, 'rgba(117,81,160,0)'],
      ]);
    for (let i = 0; i < 60; i++)
      ball(
        context,
        x + (random() - 0.5) * 1.5 * radius,
        y + (random() - 0.5) * 1.5 * radius,
        2 + 3 * random(),
        [
          [0, 'rgba(90,50,130,0.25)'],
          [1, 'rgba(90,50,130,0)'],
        ],
      );
  }
  for (let i = 0; i < 7; i++)
    ball(context, 640 * random(), 480 * random(), 7 + 4 * random(), [
      [0, '#7a559c'],
      [0.7, '#9474b0'],
      [1, 'rgba(148,116,176,0)'],
    ]);
});

export const samples: readonly Sample[] = [
  {
    id: 'ship',
    title: 'ship',
    tasks: everything,
    draw: async () => createImageBitmap(await (await fetch(ship)).blob()),
  },
  { id: 'airplane', title: 'airplane', tasks: everything, draw: airplane },
  { id: 'automobile', title: 'automobile', tasks: everything, draw: automobile },
  { id: 'nuclei', title: 'cell nuclei', tasks: ['segment', 'explore'], draw: nuclei },
  { id: 'blood', title: 'blood smear', tasks: ['detect', 'explore'], draw: blood },
];
