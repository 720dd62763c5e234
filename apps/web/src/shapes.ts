/** Kinds of drawn images, for visitors who want to try fine-tuning without images of their own. */
export const shapeKinds = ['stripes', 'dots'] as const;
export type ShapeKind = (typeof shapeKinds)[number];

/** Draws an image of a kind with random colours, size and angle. The same seed gives the same image. */
export function drawShape(kind: ShapeKind, seed: number): ImageBitmap {
  let state = (kind === 'stripes' ? 1 : 2) * 7919 + seed * 104_729;
  const random = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  const side = 128;
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext('2d')!;
  const hue = 360 * random();
  context.fillStyle = `hsl(${hue} 45% ${78 + 12 * random()}%)`;
  context.fillRect(0, 0, side, side);
  context.fillStyle = context.strokeStyle = `hsl(${hue + 120 + 120 * random()} 55% ${28 + 18 * random()}%)`;
  const step = 20 + 12 * random();
  context.translate(side / 2, side / 2);
  context.rotate(Math.PI * random());
  for (let y = -side; y < side; y += step) {
    if (kind === 'stripes') {
      context.fillRect(-side, y, 2 * side, step / 2);
      continue;
    }
    for (let x = -side; x < side; x += step) {
      context.beginPath();
      context.arc(x, y, step / 3.4, 0, 2 * Math.PI);
      context.fill();
    }
  }
  return canvas.transferToImageBitmap();
}
