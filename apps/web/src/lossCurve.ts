import { setChildren, svg } from './dom.ts';

const [width, height] = [560, 200];
/** Edges of the plot area within the drawing. */
const [left, right, top, bottom] = [34, width - 8, 10, height - 24];
/** Points per line at most; more would not be visible. */
const maxPoints = 500;

/** An exponential moving average over about a twentieth of the run. */
function movingAverage(losses: readonly number[], steps: number): number[] {
  const weight = Math.min(1, 2 / (1 + steps / 20));
  let mean = losses[0] ?? 0;
  return losses.map((loss) => (mean += (loss - mean) * weight));
}

/** Draws the loss of every step and its moving average over the steps of the run. */
export function drawLossCurve(element: SVGElement, losses: readonly number[], steps: number): void {
  const highest = Math.max(0.1, ...losses.slice(0, 4000));
  const x = (step: number) => left + ((right - left) * step) / Math.max(1, steps - 1);
  const y = (loss: number) => top + (bottom - top) * (1 - Math.min(loss, highest) / highest);
  const stride = Math.max(1, Math.ceil(losses.length / maxPoints));

  const line = (values: readonly number[], className: string) => {
    const points = values.flatMap((value, i) =>
      i % stride === 0 || i === values.length - 1 ? [`${x(i).toFixed(1)} ${y(value).toFixed(1)}`] : [],
    );
    return points.length > 0 && svg('path', { class: className, d: `M${points.join('L')}` });
  };
  const gridLine = (loss: number) => [
    svg('path', { class: 'rule', d: `M${left} ${y(loss)}H${right}` }),
    svg('text', { x: left - 6, y: y(loss) + 4, 'text-anchor': 'end' }, loss.toFixed(highest < 1 ? 2 : 1)),
  ];

  element.setAttribute('viewBox', `0 0 ${width} ${height}`);
  setChildren(
    element,
    ...[0, 0.5, 1].flatMap((share) => gridLine(highest * share)),
    svg('text', { x: right, y: height - 6, 'text-anchor': 'end' }, `${losses.length} of ${steps} steps`),
    svg('text', { x: left, y: height - 6 }, 'loss'),
    line(losses, 'raw'),
    line(movingAverage(losses, steps), 'mean'),
  );
  element.setAttribute('aria-label', describeLoss(losses, steps));
}

function describeLoss(losses: readonly number[], steps: number): string {
  const last = losses.at(-1);
  return last === undefined
    ? 'no loss yet'
    : `loss ${last.toFixed(3)} after ${losses.length} of ${steps} steps`;
}
