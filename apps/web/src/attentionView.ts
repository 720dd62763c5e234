import { field, h, numberedOptions, setOptions } from './dom.ts';
import { EngineError } from './host.ts';
import type { Point } from './imageViewer.ts';
import type { AttentionMap, AttentionRequest, Explored, OpenedModel } from './protocol.ts';
import type { Page } from './tabs/tab.ts';
import { formatPercent, formatShape } from './text.ts';

/** How far an arrow key moves the point, as a fraction of the image's side. */
const step = 1 / 28;
const steps: Readonly<Record<string, readonly [dx: number, dy: number]>> = {
  ArrowLeft: [-step, 0],
  ArrowRight: [step, 0],
  ArrowUp: [0, -step],
  ArrowDown: [0, step],
};

const clamp = (value: number): number => Math.min(Math.max(value, 0), 1);

/** What the token at a point of the image attends to, in a block that the visitor chooses. */
export class AttentionView {
  readonly element: HTMLElement;
  readonly #page: Page;
  readonly #stage = h('select', {});
  readonly #block = h('select', {});
  readonly #head = h('select', {});
  readonly #description = h('p', { className: 'attention-text' });
  #model: OpenedModel | undefined;
  #explored: Explored | undefined;
  #point: Point = { x: 0.5, y: 0.5 };
  #running = false;
  /** Whether the point or the block has changed since the last request. */
  #outdated = false;

  constructor(page: Page) {
    this.#page = page;
    this.element = h(
      'section',
      { className: 'card', ariaLabel: 'Attention' },
      h('h2', { textContent: 'Attention' }),
      this.#createKeyPad(),
      h(
        'div',
        { className: 'fields' },
        field('Stage', this.#stage),
        field('Block', this.#block),
        field('Head', this.#head),
      ),
      this.#description,
    );
    this.#stage.addEventListener('change', () => this.#offerBlocks());
    for (const select of [this.#stage, this.#block, this.#head])
      select.addEventListener('change', () => void this.update());
  }

  #createKeyPad(): HTMLElement {
    const pad = h('div', {
      className: 'keys',
      tabIndex: 0,
      textContent: 'Click on the image, or move the point with the arrow keys here.',
      attrs: { role: 'application', 'aria-label': 'Point on the image: move it with the arrow keys' },
    });
    pad.addEventListener('keydown', (event) => {
      const direction = steps[event.key];
      if (direction === undefined) return;
      event.preventDefault();
      const [dx, dy] = direction;
      this.moveTo({ x: clamp(this.#point.x + dx), y: clamp(this.#point.y + dy) });
    });
    return pad;
  }

  /** Offers the stages, blocks and heads of another model. */
  setModel(model: OpenedModel): void {
    this.#model = model;
    setOptions(this.#stage, numberedOptions(model.config.depths.length));
    if (this.#stage.value === '') this.#stage.value = '0';
    this.#offerBlocks();
  }

  #offerBlocks(): void {
    const { depths = [], heads = [] } = this.#model?.config ?? {};
    const stage = Number(this.#stage.value);
    setOptions(this.#block, numberedOptions(depths[stage] ?? 0));
    setOptions(this.#head, [['mean', 'mean'], ...numberedOptions(heads[stage] ?? 0)]);
  }

  /** Shows the attention within another image. */
  setImage(explored: Explored): Promise<void> {
    this.#explored = explored;
    return this.update();
  }

  moveTo(point: Point): void {
    this.#point = point;
    void this.update();
  }

  /** Requests one map at a time. Of several changes meanwhile, only the last is shown. */
  async update(): Promise<void> {
    this.#outdated = true;
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#outdated) {
        this.#outdated = false;
        await this.#show();
      }
    } catch (error) {
      this.#outdated = false;
      // The model or the image is just being replaced; the tab updates the view afterwards.
      const replaced = error instanceof EngineError && ['model-missing', 'unexplored'].includes(error.code);
      if (!replaced) this.#page.showError(error);
    } finally {
      this.#running = false;
    }
  }

  async #show(): Promise<void> {
    if (this.#explored === undefined) return;
    const { host, viewer } = this.#page;
    const head = this.#head.value;
    const request: AttentionRequest = {
      stage: Number(this.#stage.value),
      block: Number(this.#block.value),
      head: head === 'mean' ? undefined : Number(head),
      ...this.#point,
    };
    const map = await host.run((engine) => engine.attention(request));
    viewer.drawOverlay(map.overlay);
    viewer.mark(map.token);
    this.#describe(map, this.#explored.levels[request.stage]!.grid);
  }

  #describe({ token: [left, top], keys, strongest, uniform }: AttentionMap, grid: readonly number[]): void {
    const [rows, columns] = grid;
    const row = Math.round(top * rows!) + 1;
    const column = Math.round(left * columns!) + 1;
    this.#description.textContent =
      `The query is the token in row ${row}, column ${column} of ${formatShape(grid)}; ` +
      `it attends to ${formatShape(keys)} keys. The strongest key has ${formatPercent(strongest)} ` +
      `of the attention; with uniform attention each would have ${formatPercent(uniform)}.`;
  }
}
