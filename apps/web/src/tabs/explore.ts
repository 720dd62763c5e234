import { transfer } from 'comlink';
import { field, fill, h, options, show } from '../dom.ts';
import { EngineError } from '../host.ts';
import { ModelBar } from '../modelBar.ts';
import type { AttentionRequest, Explored, OpenedModel } from '../protocol.ts';
import type { Point } from '../stage.ts';
import { by, percent } from '../text.ts';
import { drawArchitecture } from '../diagram.ts';
import type { Page, Tab } from './tab.ts';

const sides = [64, 96, 128, 160, 192, 224, 256, 320, 384, 512];
const step = 1 / 28;

export function createExploreTab(page: Page): Tab {
  const { host, stage } = page;
  const bar = new ModelBar('explore', host, page.notices, page.refresh);
  const size = h('select', { onchange: () => bar.resize(Number(size.value)) });
  const levels = h('div', { className: 'levels' });
  const stageSelect = h('select', {});
  const blockSelect = h('select', {});
  const headSelect = h('select', {});
  const sentence = h('p', { className: 'attention-text' });
  const keys = h('div', {
    className: 'keys',
    tabIndex: 0,
    textContent: 'Click on the image, or move the point with the arrow keys here.',
    attrs: { role: 'application', 'aria-label': 'Point on the image: move it with the arrow keys' },
  });
  const below = h('section', { className: 'architecture', ariaLabel: 'Architecture' });
  let model: OpenedModel | undefined;
  let explored: Explored | undefined;
  let point: Point = { x: 0.5, y: 0.5 };
  let attending = false;
  let again = false;

  const blocks = (): void => {
    const index = Number(stageSelect.value);
    options(
      blockSelect,
      Array.from({ length: model?.depths[index] ?? 0 }, (_, i) => [String(i), String(i + 1)] as const),
    );
    options(headSelect, [
      ['mean', 'mean'],
      ...Array.from({ length: model?.heads[index] ?? 0 }, (_, i) => [String(i), String(i + 1)] as const),
    ]);
  };
  stageSelect.addEventListener('change', blocks);
  for (const select of [stageSelect, blockSelect, headSelect])
    select.addEventListener('change', () => void attend());
  keys.addEventListener('keydown', (event) => {
    const [dx, dy] =
      (
        { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] } as Record<
          string,
          [number, number]
        >
      )[event.key] ?? [];
    if (dx === undefined || dy === undefined) return;
    event.preventDefault();
    const inside = (value: number) => Math.min(Math.max(value, 0), 1);
    point = { x: inside(point.x + dx), y: inside(point.y + dy) };
    void attend();
  });

  /** The latest point wins; those in between are skipped. */
  async function attend(): Promise<void> {
    again = true;
    if (attending) return;
    attending = true;
    try {
      while (again) {
        again = false;
        if (explored === undefined) return;
        const request: AttentionRequest = {
          stage: Number(stageSelect.value),
          block: Number(blockSelect.value),
          head: headSelect.value === 'mean' ? undefined : Number(headSelect.value),
          ...point,
        };
        const map = await host.use((engine) => engine.attend(request));
        const { grid } = explored.levels[request.stage]!;
        const [left, top] = map.token;
        stage.drawOverlay(map.overlay);
        stage.mark(map.token);
        sentence.textContent =
          `Row ${Math.round(top * grid[0]) + 1}, column ${Math.round(left * grid[1]) + 1} of ${by(grid)} tokens asks; ${by(map.keys)} keys answer. ` +
          `The strongest gets ${percent(map.strongest)} of its attention; were all alike, each would get ${percent(map.even)}.`;
      }
    } catch (error) {
      again = false;
      // The model or its image has just been replaced: the run that does so asks again.
      if (!(error instanceof EngineError && (error.code === 'model-missing' || error.code === 'unexplored')))
        page.fail(error);
    } finally {
      attending = false;
    }
  }

  function showLevels({ levels: found }: Explored): void {
    fill(
      levels,
      ...found.map(({ name, stride, grid, channels, bitmap }, index) => {
        const canvas = h('canvas', {
          attrs: { role: 'img', 'aria-label': `${name}: strength at ${by(grid)} positions` },
        });
        show(canvas, bitmap);
        const text = h('span', { textContent: 'all channels' });
        const channel = h('input', {
          type: 'range',
          min: '-1',
          max: String(channels - 1),
          value: '-1',
          ariaLabel: `Channel of ${name}`,
        });
        channel.addEventListener('input', () => {
          const chosen = Number(channel.value);
          text.textContent = chosen < 0 ? 'all channels' : `channel ${chosen + 1}`;
          void host
            .use((engine) => engine.level(index, chosen < 0 ? undefined : chosen))
            .then((bitmap) => show(canvas, bitmap), page.fail);
        });
        return h(
          'figure',
          { attrs: { 'data-level': name } },
          canvas,
          h(
            'figcaption',
            {},
            h('strong', { textContent: `Stage ${index + 1}` }),
            ` stride ${stride}, ${by([...grid, channels])}`,
          ),
          h('label', { className: 'channel' }, channel, text),
        );
      }),
    );
  }

  return {
    name: 'explore',
    title: 'Explore',
    panel: h(
      'div',
      {},
      bar.element,
      h('div', { className: 'fields' }, field('Shorter side', size)),
      h('h2', { textContent: 'Four levels of the pyramid' }),
      levels,
    ),
    under: h(
      'section',
      { className: 'card', ariaLabel: 'Attention' },
      h('h2', { textContent: 'Who looks where' }),
      keys,
      h(
        'div',
        { className: 'fields' },
        field('Stage', stageSelect),
        field('Block', blockSelect),
        field('Head', headSelect),
      ),
      sentence,
    ),
    below,
    take: (files) => bar.give(files),
    enter: () => {
      stage.onPoint = (clicked) => {
        point = clicked;
        void attend();
      };
    },
    leave: () => {
      stage.onPoint = undefined;
    },
    async run() {
      const opened = await bar.ensure(stage.size);
      if (opened === undefined || stage.empty) return;
      if (opened !== model) {
        model = opened;
        const permitted = await host.use((engine) => engine.permitted(sides));
        options(
          size,
          permitted.map((side) => [String(side), `${side} px`] as const),
          String(bar.shortSide),
        );
        options(
          stageSelect,
          opened.depths.map((_, i) => [String(i), String(i + 1)] as const),
        );
        if (stageSelect.value === '') stageSelect.value = '0';
        blocks();
      }
      explored = await host.use(async (engine) => {
        const bitmap = await stage.snapshot();
        return engine.explore(transfer(bitmap, [bitmap]), bar.shortSide!);
      });
      bar.took(explored.milliseconds);
      const shape = explored.size;
      showLevels(explored);
      await attend();
      const architecture = await host.use((engine) => engine.architecture(shape));
      drawArchitecture(below, architecture);
      if (!stage.live) page.announce(`explored at ${by(shape)} pixels`);
    },
  };
}
