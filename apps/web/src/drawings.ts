/**
 * Drawings that the demonstration models recognise: an airplane, an automobile, cell nuclei, a blood smear.
 */
type Context = OffscreenCanvasRenderingContext2D;
type Random = () => number;
/** Colours of a gradient at offsets between 0 and 1. */
type Stops = readonly (readonly [offset: number, color: string])[];
type Circle = readonly [x: number, y: number, radius: number];

/** A generator of numbers in [0, 1), the same in every browser. */
function createRandom(seed: number): Random {
  let state = seed;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

const drawing =
  (width: number, height: number, draw: (context: Context, random: Random) => void) =>
  async (): Promise<ImageBitmap> => {
    const canvas = new OffscreenCanvas(width, height);
    draw(canvas.getContext('2d')!, createRandom(7));
    return canvas.transferToImageBitmap();
  };

function verticalGradient(context: Context, fromY: number, toY: number, stops: Stops): CanvasGradient {
  const gradient = context.createLinearGradient(0, fromY, 0, toY);
  for (const [offset, color] of stops) gradient.addColorStop(offset, color);
  return gradient;
}

function fillRect(
  context: Context,
  fill: string | CanvasGradient,
  ...[x, y, width, height]: readonly [x: number, y: number, width: number, height: number]
): void {
  context.fillStyle = fill;
  context.fillRect(x, y, width, height);
}

/** Fills a circle with a radial gradient. */
function fillCircle(context: Context, [x, y, radius]: Circle, stops: Stops): void {
  const gradient = context.createRadialGradient(x, y, 0, x, y, radius);
  for (const [offset, color] of stops) gradient.addColorStop(offset, color);
  fillRect(context, gradient, x - radius, y - radius, 2 * radius, 2 * radius);
}

/** Fills a path, given as SVG path data. */
function fillPath(context: Context, fill: string | CanvasGradient, path: string): void {
  context.save();
  context.clip(new Path2D(path));
  fillRect(context, fill, -1000, -1000, 3000, 3000);
  context.restore();
}

function drawClouds(
  context: Context,
  random: Random,
  positions: readonly (readonly [x: number, y: number, scale: number])[],
): void {
  const puff: Stops = [
    [0, 'rgba(255,255,255,0.5)'],
    [1, 'rgba(255,255,255,0)'],
  ];
  for (const [x, y, scale] of positions) {
    for (let i = 0; i < 30; i++) {
      const spread = random() + random() - 1;
      const puffX = x + scale * 90 * spread;
      const puffY = y + scale * 16 * (random() - 0.5) * (1.4 - Math.abs(spread));
      fillCircle(context, [puffX, puffY, scale * (14 + 24 * random())], puff);
    }
  }
}

export const drawAirplane = drawing(640, 480, (context, random) => {
  const sky: Stops = [
    [0, '#3f7fc4'],
    [0.6, '#8dbbe4'],
    [1, '#d5e6f2'],
  ];
  fillRect(context, verticalGradient(context, 0, 480, sky), 0, 0, 640, 480);
  drawClouds(context, random, [
    [130, 110, 1.1],
    [520, 80, 0.8],
    [90, 380, 1.2],
    [470, 410, 1.5],
  ]);
  context.translate(320, 240);
  context.rotate(-0.13);
  context.translate(-320, -240);
  // The far wing and stabiliser.
  fillPath(context, '#b4bcc6', 'M330 225 L392 128 L420 128 L394 226 Z');
  fillPath(context, '#b4bcc6', 'M142 226 L120 180 L138 180 L178 226 Z');
  drawFuselage(context);
  drawNearWings(context);
  drawEngine(context, 292, 296);
  drawEngine(context, 250, 336);
});

function drawFuselage(context: Context): void {
  const body: Stops = [
    [0, '#ffffff'],
    [0.55, '#e8ecf0'],
    [1, '#8f9aa6'],
  ];
  fillPath(
    context,
    verticalGradient(context, 208, 272, body),
    'M96 238 C110 216 160 212 220 211 L470 210 C520 210 556 224 570 238 ' +
      'C556 256 520 266 470 267 L230 268 C160 266 110 256 96 238 Z',
  );
  // Tail fin, cockpit, windows, stripe.
  fillPath(context, '#1d4f91', 'M100 236 L84 150 L128 150 L186 213 C140 216 116 222 100 236 Z');
  fillPath(context, '#2b3948', 'M524 220 C540 224 550 229 556 233 L528 234 Z');
  for (let x = 200; x < 505; x += 15) fillRect(context, '#43566b', x, 226, 7, 9);
  fillRect(context, '#1d4f91', 120, 246, 430, 5);
}

function drawNearWings(context: Context): void {
  const metal: Stops = [
    [0, '#dfe4e9'],
    [1, '#9aa4b0'],
  ];
  fillPath(context, verticalGradient(context, 250, 380, metal), 'M366 252 L232 378 L198 380 L276 254 Z');
  fillPath(context, verticalGradient(context, 240, 290, metal), 'M166 246 L98 292 L78 292 L120 246 Z');
}

function drawEngine(context: Context, x: number, y: number): void {
  const metal: Stops = [
    [0, '#f6f8fa'],
    [1, '#6f7c8a'],
  ];
  fillPath(
    context,
    verticalGradient(context, y - 12, y + 12, metal),
    `M${x - 26} ${y} a10 12 0 0 1 10 -12 L${x + 22} ${y - 12} a8 12 0 0 1 0 24 ` +
      `L${x - 16} ${y + 12} a10 12 0 0 1 -10 -12 Z`,
  );
  fillPath(context, '#2b3948', `M${x + 18} ${y - 11} a8 11 0 0 1 0 22 a8 11 0 0 1 0 -22 Z`);
}

export const drawAutomobile = drawing(640, 480, (context, random) => {
  drawRoad(context, random);
  drawCarBody(context);
  for (const x of [174, 474]) drawWheel(context, x, 366);
});

function drawRoad(context: Context, random: Random): void {
  const sky: Stops = [
    [0, '#8fb8dd'],
    [1, '#e6eef2'],
  ];
  fillRect(context, verticalGradient(context, 0, 260, sky), 0, 0, 640, 260);
  drawClouds(context, random, [
    [130, 60, 0.8],
    [480, 90, 1],
  ]);
  const hills = 'M0 250 C90 205 190 232 300 226 C420 218 520 196 640 236 L640 300 L0 300 Z';
  fillPath(context, '#7d9a6b', hills);
  const asphalt: Stops = [
    [0, '#8a8d90'],
    [1, '#55585c'],
  ];
  fillRect(context, verticalGradient(context, 285, 480, asphalt), 0, 285, 640, 195);
  for (let i = 0; i < 900; i++) {
    const grain = random() < 0.5 ? 'rgba(255,255,255,0.07)' : 'rgba(0,0,0,0.09)';
    fillRect(context, grain, 640 * random(), 288 + 190 * random(), 3 + 5 * random(), 1.5);
  }
  const laneMarks =
    'M40 438 L150 438 L142 450 L28 450 Z M260 438 L370 438 L372 450 L258 450 Z ' +
    'M480 438 L590 438 L602 450 L490 450 Z';
  fillPath(context, '#e8e2c8', laneMarks);
}

function drawCarBody(context: Context): void {
  const shadow = 'M86 384 C200 372 460 372 566 384 C580 402 80 404 86 384 Z';
  fillPath(context, 'rgba(0,0,0,0.45)', shadow);
  const paint: Stops = [
    [0, '#d9413a'],
    [0.5, '#b92a28'],
    [1, '#6d1517'],
  ];
  fillPath(
    context,
    verticalGradient(context, 180, 380, paint),
    'M84 342 C80 300 96 286 150 276 L206 268 C240 216 268 196 330 192 C400 190 436 206 478 262 ' +
      'C540 270 562 286 566 318 L568 352 C566 368 556 372 540 372 L112 372 C94 372 86 364 84 342 Z',
  );
  const glass: Stops = [
    [0, '#d4e4ee'],
    [1, '#5f7a8d'],
  ];
  fillPath(
    context,
    verticalGradient(context, 200, 268, glass),
    'M232 264 C254 224 278 208 320 206 L320 264 Z M332 206 C392 204 420 216 452 262 L332 264 Z',
  );
  // Lights, door lines, door handles.
  fillPath(context, '#f6e7a8', 'M88 304 C96 296 110 296 118 302 L112 318 C100 320 92 316 88 304 Z');
  fillPath(context, '#ff9a86', 'M560 300 C552 294 544 294 540 298 L544 318 L566 318 Z');
  context.strokeStyle = 'rgba(60,8,10,0.7)';
  context.lineWidth = 2.5;
  context.stroke(new Path2D('M326 206 L326 364 M206 270 L220 362 M478 264 L462 362 M92 336 L560 336'));
  fillPath(context, '#d8dde1', 'M346 290 h26 v6 h-26 Z M240 290 h26 v6 h-26 Z');
}

function drawWheel(context: Context, x: number, y: number): void {
  fillCircle(
    context,
    [x, y, 50],
    [
      [0, '#1b1c1e'],
      [0.97, '#1b1c1e'],
      [1, 'rgba(27,28,30,0)'],
    ],
  );
  fillCircle(
    context,
    [x, y, 27],
    [
      [0, '#f0f2f4'],
      [0.55, '#c3c8cd'],
      [0.93, '#7f868d'],
      [1, 'rgba(127,134,141,0)'],
    ],
  );
  for (let spoke = 0; spoke < 5; spoke++) {
    const angle = (spoke * 2 * Math.PI) / 5 - Math.PI / 2;
    fillCircle(
      context,
      [x + 15 * Math.cos(angle), y + 15 * Math.sin(angle), 6],
      [
        [0, '#3d4348'],
        [0.9, '#3d4348'],
        [1, 'rgba(61,67,72,0)'],
      ],
    );
  }
}

/** Tries random circles until `count` of them, with those placed before, do not overlap by much. */
function arrangeCircles(
  arranged: readonly Circle[],
  { count, tries, distance }: { readonly count: number; readonly tries: number; readonly distance: number },
  randomCircle: () => Circle,
): Circle[] {
  const circles = [...arranged];
  for (let attempt = 0; circles.length < count && attempt < tries; attempt++) {
    const [x, y, radius] = randomCircle();
    const isFree = circles.every(
      ([otherX, otherY, otherRadius]) =>
        Math.hypot(x - otherX, y - otherY) > distance * (radius + otherRadius),
    );
    if (isFree) circles.push([x, y, radius]);
  }
  return circles;
}

/** Bright cell nuclei on a dark background, as under a fluorescence microscope. */
export const drawNuclei = drawing(512, 384, (context, random) => {
  fillRect(context, '#0a0b0e', 0, 0, 512, 384);
  const nuclei = arrangeCircles([], { count: 46, tries: 3000, distance: 0.93 }, () => [
    512 * random(),
    384 * random(),
    11 + 11 * random(),
  ]);
  for (const nucleus of nuclei) drawNucleus(context, random, nucleus);
});

function drawNucleus(context: Context, random: Random, [x, y, radius]: Circle): void {
  context.save();
  context.translate(x, y);
  context.rotate(Math.PI * random());
  context.scale(1, 0.68 + 0.3 * random());
  const light = 105 + 120 * random();
  const grey = (share: number, alpha = 1) =>
    `rgba(${light * share},${light * share},${light * share + 6},${alpha})`;
  fillCircle(
    context,
    [0, 0, radius * 1.25],
    [
      [0, grey(1)],
      [0.55, grey(0.93)],
      [0.76, grey(0.8)],
      [0.84, grey(0.4, 0.7)],
      [1, grey(0.2, 0)],
    ],
  );
  for (let i = 0; i < 7; i++) {
    const spot: Circle = [radius * (random() - 0.5), radius * (random() - 0.5), 2 + 3 * random()];
    fillCircle(context, spot, [
      [0, `rgba(255,255,255,${0.16 * random()})`],
      [1, 'rgba(255,255,255,0)'],
    ]);
  }
  context.restore();
}

/** Red cells, two white cells and platelets, as in a stained blood smear. */
export const drawBlood = drawing(640, 480, (context, random) => {
  const background: Stops = [
    [0, '#ece1dc'],
    [1, '#e4d6d3'],
  ];
  fillRect(context, verticalGradient(context, 0, 480, background), 0, 0, 640, 480);
  const whiteCells: readonly Circle[] = [
    [206, 168, 66],
    [470, 330, 60],
  ];
  const cells = arrangeCircles(whiteCells, { count: 24, tries: 4000, distance: 0.9 }, () => [
    640 * random(),
    480 * random(),
    37 + 8 * random(),
  ]);
  for (const cell of cells.slice(whiteCells.length)) drawRedCell(context, cell);
  for (const cell of whiteCells) drawWhiteCell(context, random, cell);
  for (let i = 0; i < 7; i++) drawPlatelet(context, [640 * random(), 480 * random(), 7 + 4 * random()]);
});

const drawRedCell = (context: Context, cell: Circle): void =>
  fillCircle(context, cell, [
    [0, '#e2c3bd'],
    [0.3, '#d9aca6'],
    [0.62, '#cb8c88'],
    [0.9, '#c2807e'],
    [0.97, '#b87675'],
    [1, 'rgba(184,118,117,0)'],
  ]);

function drawWhiteCell(context: Context, random: Random, [x, y, radius]: Circle): void {
  fillCircle(
    context,
    [x, y, radius],
    [
      [0, '#cdb6d8'],
      [0.86, '#c6b0d4'],
      [0.97, '#b79fc9'],
      [1, 'rgba(183,159,201,0)'],
    ],
  );
  const lobes: readonly Circle[] = [
    [x - 18, y - 10, 30],
    [x + 16, y - 18, 28],
    [x + 10, y + 18, 30],
    [x - 14, y + 20, 24],
  ];
  for (const lobe of lobes)
    fillCircle(context, lobe, [
      [0, '#5b3a86'],
      [0.75, '#65418f'],
      [0.95, '#7551a0'],
      [1, 'rgba(117,81,160,0)'],
    ]);
  for (let i = 0; i < 60; i++) {
    const granuleX = x + (random() - 0.5) * 1.5 * radius;
    const granuleY = y + (random() - 0.5) * 1.5 * radius;
    fillCircle(
      context,
      [granuleX, granuleY, 2 + 3 * random()],
      [
        [0, 'rgba(90,50,130,0.25)'],
        [1, 'rgba(90,50,130,0)'],
      ],
    );
  }
}

const drawPlatelet = (context: Context, platelet: Circle): void =>
  fillCircle(context, platelet, [
    [0, '#7a559c'],
    [0.7, '#9474b0'],
    [1, 'rgba(148,116,176,0)'],
  ]);
