import { fill, svg } from './dom.ts';

const [width, height, margin] = [560, 200, 34];

/** A running mean over about a twentieth of the run, which follows a noisy loss. */
function smoothed(losses: readonly number[], steps: number): number[] {
  const share = Math.min(1, 2 / (1 + steps / 20));
  let mean = losses[0] ?? 0;
  return losses.map((loss) => (mean += (loss - mean) * share));
}

/** The loss of every step, and its running mean, against the steps. */
export function drawCurve(element: SVGElement, losses: readonly number[], steps: number): void {
  element.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const most = Math.max(0.1, ...losses.slice(0, 4000));
  const x = (i: number) => margin + ((width - margin - 8) * i) / Math.max(1, steps - 1);
  const y = (loss: number) => 10 + (height - 34) * (1 - Math.min(loss, most) / most);
  // More points than pixels are drawn one for many.
  const stride = Math.max(1, Math.ceil(losses.length / 500));
  const path = (values: readonly number[]) =>
    values.flatMap((value, i) =>
      i % stride === 0 || i === values.length - 1 ? [`${x(i).toFixed(1)} ${y(value).toFixed(1)}`] : [],
    );
  const line = (values: readonly number[], name: string) =>
    values.length === 0 ? '' : svg('path', { class: name, d: `M${path(values).join('L')}` });
  fill(
    element,
    ...[0, 0.5, 1].flatMap((share) => [
      svg('path', { class: 'rule', d: `M${margin} ${y(most * share)}H${width - 8}` }),
      svg(
        'text',
        { x: margin - 6, y: y(most * share) + 4, 'text-anchor': 'end' },
        (most * share).toFixed(most < 1 ? 2 : 1),
      ),
    ]),
    svg('text', { x: width - 8, y: height - 6, 'text-anchor': 'end' }, `${losses.length} of ${steps} steps`),
    svg('text', { x: margin, y: height - 6 }, 'loss'),
    line(losses, 'raw'),
    line(smoothed(losses, steps), 'mean'),
  );
  element.setAttribute(
    'aria-label',
    losses.length === 0
      ? 'no loss yet'
      : `loss ${losses.at(-1)!.toFixed(3)} after ${losses.length} of ${steps} steps`,
  );
}
