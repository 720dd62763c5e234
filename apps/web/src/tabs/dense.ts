import { transfer } from 'comlink';
import { field, fill, h, options } from '../dom.ts';
import { ModelBar } from '../modelBar.ts';
import { percent } from '../text.ts';
import type { Page, Tab } from './tab.ts';

const sides = [64, 96, 128, 160, 192, 240, 256, 320, 384, 512, 640, 800];

/** Segment and Detect have a size, a legend, and nothing to show before there is a model. */
function denseTab(
  page: Page,
  name: 'segment' | 'detect',
  title: string,
  question: string,
  empty: string,
  more: readonly HTMLElement[],
  run: (bar: ModelBar, result: HTMLElement) => Promise<void>,
): Tab {
  const bar = new ModelBar(name, page.host, page.notices, page.refresh);
  const size = h('select', { onchange: () => bar.resize(Number(size.value)) });
  const result = h('ul', { className: 'legend', ariaLabel: question });
  return {
    name,
    title,
    panel: h(
      'div',
      {},
      bar.element,
      h('h2', { textContent: question }),
      h('div', { className: 'fields' }, field('Shorter side', size), ...more),
      result,
    ),
    take: (files) => bar.give(files),
    async run() {
      const model = await bar.ensure(page.stage.size);
      options(
        size,
        sides.map((side) => [String(side), `${side} px`] as const),
        String(bar.shortSide),
      );
      if (model === undefined) {
        page.stage.clearOverlay();
        fill(result, h('li', { className: 'empty', textContent: empty }));
        return;
      }
      if (!page.stage.empty) await run(bar, result);
    },
  };
}

const row = (color: string, name: string, value: string) =>
  h(
    'li',
    {},
    h('span', { className: 'swatch', attrs: { style: `--color: ${color}`, 'aria-hidden': 'true' } }),
    h('span', { className: 'name', textContent: name }),
    h('span', { className: 'value', textContent: value }),
  );

export const createSegmentTab = (page: Page): Tab =>
  denseTab(
    page,
    'segment',
    'Segment',
    'What is where?',
    'No segmenter is loaded yet: choose one above, or drop its file on the page.',
    [],
    async (bar, result) => {
      const { overlay, classes, milliseconds } = await page.host.use(async (engine) => {
        const bitmap = await page.stage.snapshot();
        return engine.segment(transfer(bitmap, [bitmap]));
      });
      bar.took(milliseconds);
      page.stage.drawOverlay(overlay);
      fill(result, ...classes.slice(0, 12).map(({ color, name, share }) => row(color, name, percent(share))));
      if (!page.stage.live && classes[0])
        page.announce(`mostly ${classes[0].name}, ${percent(classes[0].share)}`);
    },
  );

export const createDetectTab = (page: Page): Tab => {
  const score = h('input', { type: 'range', min: '0.05', max: '0.95', step: '0.05', value: '0.3' });
  const shown = h('output', { textContent: '30 %' });
  score.addEventListener('input', () => {
    shown.textContent = percent(Number(score.value));
    page.refresh();
  });
  return denseTab(
    page,
    'detect',
    'Detect',
    'What is there?',
    'No detector is loaded yet: choose one above, or drop its file on the page.',
    [field('Least score', h('span', { className: 'range' }, score, shown))],
    async (bar, result) => {
      const { overlay, objects, milliseconds } = await page.host.use(async (engine) => {
        const bitmap = await page.stage.snapshot();
        return engine.detect(transfer(bitmap, [bitmap]), Number(score.value));
      });
      bar.took(milliseconds);
      page.stage.drawOverlay(overlay);
      // The surest object comes first, and with it its class.
      const rows = [...new Set(objects.map(({ label }) => label))].map((label) => {
        const alike = objects.filter((object) => object.label === label);
        return row(alike[0]!.color, alike[0]!.name, `${alike.length}, up to ${percent(alike[0]!.score)}`);
      });
      fill(
        result,
        ...(rows.length > 0
          ? rows
          : [
              h('li', {
                className: 'empty',
                textContent: 'Nothing scores that high; lower the least score.',
              }),
            ]),
      );
      if (!page.stage.live)
        page.announce(
          objects.length === 0
            ? 'nothing found'
            : `${objects.length} objects, the surest: ${objects[0]!.name}, ${percent(objects[0]!.score)}`,
        );
    },
  );
};
