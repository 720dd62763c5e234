import { transfer } from 'comlink';
import type { Prediction } from '@pvt/heads';
import { h, setChildren } from '../dom.ts';
import { ModelBar } from '../modelBar.ts';
import { formatPercent } from '../text.ts';
import type { Page, Tab } from './tab.ts';

/** Predictions with their probabilities as bars. */
export function predictionItems(predictions: readonly Prediction[]): HTMLLIElement[] {
  return predictions.map(({ name, probability }) =>
    h(
      'li',
      { attrs: { style: `--share: ${probability}` } },
      h('span', { className: 'name', textContent: name }),
      h('span', { className: 'value', textContent: formatPercent(probability) }),
    ),
  );
}

export function createClassifyTab(page: Page): Tab {
  const { host, viewer } = page;
  const bar = new ModelBar('classify', page);
  const list = h('ol', { className: 'bars', ariaLabel: 'Predictions' });
  return {
    name: 'classify',
    title: 'Classify',
    panel: h('div', {}, bar.element, h('h2', { textContent: 'Predictions' }), list),
    dropFiles: (files) => bar.openFiles(files),
    async run() {
      if ((await bar.open()) === undefined || viewer.empty) return;
      const { predictions, milliseconds } = await host.run(async (engine) => {
        const bitmap = await viewer.snapshot();
        return engine.classify(transfer(bitmap, [bitmap]), 5);
      });
      bar.addLatency(milliseconds);
      viewer.clearOverlay();
      setChildren(list, ...predictionItems(predictions));
      const [best] = predictions;
      if (!viewer.live && best) page.announce(`${best.name}, ${formatPercent(best.probability)}`);
    },
  };
}
