import { transfer } from 'comlink';
import { AttentionView } from '../attentionView.ts';
import { drawArchitecture } from '../architecture.ts';
import { drawBitmap, field, h, setChildren, setOptions, sideOptions } from '../dom.ts';
import { ModelBar } from '../modelBar.ts';
import type { Level, OpenedModel } from '../protocol.ts';
import { formatShape } from '../text.ts';
import type { Page, Tab } from './tab.ts';

const sides = [64, 96, 128, 160, 192, 224, 256, 320, 384, 512];

/** The pyramid of an image, the attention of any token, and the model's architecture. */
export function createExploreTab(page: Page): Tab {
  const { host, viewer } = page;
  const bar = new ModelBar('explore', page);
  const attention = new AttentionView(page);
  const size = h('select', { onchange: () => bar.resize(Number(size.value)) });
  const levels = h('div', { className: 'levels' });
  const below = h('section', { className: 'architecture', ariaLabel: 'Architecture' });
  let model: OpenedModel | undefined;

  async function setModel(opened: OpenedModel): Promise<void> {
    model = opened;
    const allowed = await host.run((engine) => engine.allowedSides(sides));
    setOptions(size, sideOptions(allowed), String(bar.shortSide));
    attention.setModel(opened);
  }

  return {
    name: 'explore',
    title: 'Explore',
    panel: h(
      'div',
      {},
      bar.element,
      h('div', { className: 'fields' }, field('Shorter side', size)),
      h('h2', { textContent: 'Levels of the pyramid' }),
      levels,
    ),
    under: attention.element,
    below,
    dropFiles: (files) => bar.openFiles(files),
    enter: () => {
      viewer.onPoint = (point) => attention.moveTo(point);
    },
    leave: () => {
      viewer.onPoint = undefined;
    },
    async run() {
      const opened = await bar.open(viewer.size);
      if (opened === undefined || viewer.empty) return;
      if (opened !== model) await setModel(opened);
      const explored = await host.run(async (engine) => {
        const bitmap = await viewer.snapshot();
        return engine.explore(transfer(bitmap, [bitmap]), bar.shortSide!);
      });
      bar.addLatency(explored.milliseconds);
      setChildren(levels, ...explored.levels.map((level, index) => levelFigure(page, level, index)));
      await attention.setImage(explored);
      const architecture = await host.run((engine) => engine.architecture(explored.size));
      drawArchitecture(below, architecture);
      if (!viewer.live) page.announce(`explored at ${formatShape(explored.size)} pixels`);
    },
  };
}

/** A level's heat map with a control for the channel that it shows. */
function levelFigure({ host, showError }: Page, level: Level, index: number): HTMLElement {
  const { name, stride, grid, channels, bitmap } = level;
  const canvas = h('canvas', {
    attrs: { role: 'img', 'aria-label': `${name}: activation at ${formatShape(grid)} positions` },
  });
  drawBitmap(canvas, bitmap);
  const text = h('span', { textContent: 'all channels' });
  const slider = h('input', {
    type: 'range',
    min: '-1',
    max: String(channels - 1),
    value: '-1',
    ariaLabel: `Channel of ${name}`,
  });
  slider.addEventListener('input', () => {
    const channel = Number(slider.value);
    const all = channel < 0;
    text.textContent = all ? 'all channels' : `channel ${channel + 1}`;
    void host
      .run((engine) => engine.drawLevel(index, all ? undefined : channel))
      .then((drawn) => drawBitmap(canvas, drawn), showError);
  });
  return h(
    'figure',
    { attrs: { 'data-level': name } },
    canvas,
    h(
      'figcaption',
      {},
      h('strong', { textContent: `Stage ${index + 1}` }),
      ` stride ${stride}, ${formatShape([...grid, channels])}`,
    ),
    h('label', { className: 'channel' }, slider, text),
  );
}
