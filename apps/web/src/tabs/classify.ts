import { transfer } from 'comlink';
import { fill, h } from '../dom.ts';
import { ModelBar } from '../modelBar.ts';
import { percent } from '../text.ts';
import type { Page, Tab } from './tab.ts';

/** Guesses with their probabilities as bars. */
export function guessList(
  guesses: readonly { readonly name: string; readonly probability: number }[],
): HTMLLIElement[] {
  return guesses.map(({ name, probability }) =>
    h(
      'li',
      { attrs: { style: `--share: ${probability}` } },
      h('span', { className: 'name', textContent: name }),
      h('span', { className: 'value', textContent: percent(probability) }),
    ),
  );
}

export function createClassifyTab(page: Page): Tab {
  const { host, stage } = page;
  const bar = new ModelBar('classify', host, page.notices, page.refresh);
  const guesses = h('ol', { className: 'bars', ariaLabel: 'Best guesses' });
  return {
    name: 'classify',
    title: 'Classify',
    panel: h('div', {}, bar.element, h('h2', { textContent: 'What is it?' }), guesses),
    take: (files) => bar.give(files),
    async run() {
      if ((await bar.ensure()) === undefined || stage.empty) return;
      const result = await host.use(async (engine) => {
        const bitmap = await stage.snapshot();
        return engine.classify(transfer(bitmap, [bitmap]), 5);
      });
      bar.took(result.milliseconds);
      stage.clearOverlay();
      fill(guesses, ...guessList(result.guesses));
      const [best] = result.guesses;
      if (!stage.live && best) page.announce(`${best.name}, ${percent(best.probability)}`);
    },
  };
}
