import { transfer } from 'comlink';
import { field, h, setChildren, setOptions, sideOptions } from '../dom.ts';
import { ModelBar } from '../modelBar.ts';
import type { Detected } from '../protocol.ts';
import { formatPercent, formatPlural } from '../text.ts';
import type { Page, Tab } from './tab.ts';

const sides = [64, 96, 128, 160, 192, 240, 256, 320, 384, 512, 640, 800];

/** Classes that the legend of a segmentation lists at most. */
const maxClasses = 12;

interface DenseTabOptions extends Pick<Tab, 'title'> {
  readonly name: 'segment' | 'detect';
  /** Heading of the result. */
  readonly heading: string;
  /** Shown while no model is open. */
  readonly noModel: string;
  /** Controls beside the input size. */
  readonly fields: readonly HTMLElement[];
  /** Runs the model and shows its result in the legend. */
  run(bar: ModelBar, legend: HTMLElement): Promise<void>;
}

/** What Segment and Detect have in common: an input size, a legend, and a hint while no model is open. */
function createDenseTab(page: Page, options: DenseTabOptions): Tab {
  const { name, title, heading, noModel, fields, run } = options;
  const bar = new ModelBar(name, page);
  const size = h('select', { onchange: () => bar.resize(Number(size.value)) });
  const legend = h('ul', { className: 'legend', ariaLabel: heading });
  return {
    name,
    title,
    panel: h(
      'div',
      {},
      bar.element,
      h('h2', { textContent: heading }),
      h('div', { className: 'fields' }, field('Shorter side', size), ...fields),
      legend,
    ),
    dropFiles: (files) => bar.openFiles(files),
    async run() {
      const model = await bar.open(page.viewer.size);
      setOptions(size, sideOptions(sides), String(bar.shortSide));
      if (model === undefined) {
        page.viewer.clearOverlay();
        setChildren(legend, emptyItem(noModel));
        return;
      }
      if (!page.viewer.empty) await run(bar, legend);
    },
  };
}

const legendItem = (color: string, name: string, value: string) =>
  h(
    'li',
    {},
    h('span', { className: 'swatch', attrs: { style: `--color: ${color}`, 'aria-hidden': 'true' } }),
    h('span', { className: 'name', textContent: name }),
    h('span', { className: 'value', textContent: value }),
  );

const emptyItem = (textContent: string) => h('li', { className: 'empty', textContent });

export const createSegmentTab = (page: Page): Tab =>
  createDenseTab(page, {
    name: 'segment',
    title: 'Segment',
    heading: 'Classes',
    noModel: 'No segmentation model is open. Choose one above, or drop its file on the page.',
    fields: [],
    async run(bar, legend) {
      const { overlay, classes, milliseconds } = await page.host.run(async (engine) => {
        const bitmap = await page.viewer.snapshot();
        return engine.segment(transfer(bitmap, [bitmap]));
      });
      bar.addLatency(milliseconds);
      page.viewer.drawOverlay(overlay);
      const listed = classes.slice(0, maxClasses);
      setChildren(
        legend,
        ...listed.map(({ color, name, share }) => legendItem(color, name, formatPercent(share))),
      );
      const [largest] = classes;
      if (!page.viewer.live && largest)
        page.announce(`mostly ${largest.name}, ${formatPercent(largest.share)}`);
    },
  });

type Detections = Detected['detections'];

/** One item per class, with the number of its objects and the best score. */
function detectionItems(detections: Detections): HTMLLIElement[] {
  if (detections.length === 0) return [emptyItem('No object reaches this score. Lower the minimum score.')];
  const labels = new Set(detections.map(({ label }) => label));
  return [...labels].map((label) => {
    // Detections are sorted by score.
    const ofClass = detections.filter((detection) => detection.label === label);
    const { color, name, score } = ofClass[0]!;
    return legendItem(color, name, `${ofClass.length}, up to ${formatPercent(score)}`);
  });
}

function describeDetections([best, ...others]: Detections): string {
  if (best === undefined) return 'nothing found';
  const objects = formatPlural(others.length + 1, 'object');
  return `${objects}, the best: ${best.name}, ${formatPercent(best.score)}`;
}

export function createDetectTab(page: Page): Tab {
  const score = h('input', { type: 'range', min: '0.05', max: '0.95', step: '0.05', value: '0.3' });
  const shownScore = h('output', { textContent: '30 %' });
  score.addEventListener('input', () => {
    shownScore.textContent = formatPercent(Number(score.value));
    page.refresh();
  });
  return createDenseTab(page, {
    name: 'detect',
    title: 'Detect',
    heading: 'Objects',
    noModel: 'No detection model is open. Choose one above, or drop its file on the page.',
    fields: [field('Minimum score', h('span', { className: 'range' }, score, shownScore))],
    async run(bar, legend) {
      const { overlay, detections, milliseconds } = await page.host.run(async (engine) => {
        const bitmap = await page.viewer.snapshot();
        return engine.detect(transfer(bitmap, [bitmap]), Number(score.value));
      });
      bar.addLatency(milliseconds);
      page.viewer.drawOverlay(overlay);
      setChildren(legend, ...detectionItems(detections));
      if (!page.viewer.live) page.announce(describeDetections(detections));
    },
  });
}
