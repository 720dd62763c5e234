import { fill, h } from './dom.ts';
import type { Host } from './host.ts';
import { embedded, embeddedRequest, forTask, shortSides } from './models.ts';
import { isAbort, sentenceOf, type Notices } from './notices.ts';
import type { OpenedModel, OpenRequest, Progress, TaskName } from './protocol.ts';
import { count, duration, megabytes } from './text.ts';

/** Checkpoints of these may be asked for by name; the published ones are all classifiers. */
const noHead: Readonly<Record<TaskName, string>> = {
  classify: '',
  explore: '',
  tune: '',
  segment:
    'Any semantic FPN, UPerNet or SegFormer head on a PVT works: a checkpoint of mmsegmentation or of the official code.',
  detect:
    'Any RetinaNet on a PVT works: a checkpoint of mmdetection, of the official code, or of torchvision.',
};

let files = 0;

/** Which model serves a task, its download, and how long everything took. */
export class ModelBar {
  readonly element: HTMLElement;
  readonly #task: TaskName;
  readonly #host: Host;
  readonly #notices: Notices;
  readonly #changed: () => void;
  readonly #button = h('button', { type: 'button', className: 'model', title: 'Choose another model' });
  readonly #facts = h('p', { className: 'facts' });
  readonly #times = h('dl', { className: 'times', attrs: { 'aria-label': 'Latency' } });
  readonly #bar = h('progress', { attrs: { 'aria-label': 'Loading the model' } });
  readonly #barText = h('span');
  readonly #loading = h(
    'div',
    { className: 'loading', hidden: true },
    this.#bar,
    this.#barText,
    h('button', { type: 'button', textContent: 'Cancel', onclick: () => this.#host.cancel() }),
  );
  #request: OpenRequest | undefined;
  #before: OpenRequest | undefined;
  #frames: number[] = [];
  #shortSide: number | undefined;

  constructor(task: TaskName, host: Host, notices: Notices, changed: () => void) {
    this.#task = task;
    this.#host = host;
    this.#notices = notices;
    this.#changed = changed;
    const [first] = forTask(task);
    this.#request = first && embeddedRequest(task, first);
    this.#button.addEventListener('click', () => void this.choose());
    this.element = h(
      'section',
      { className: 'model-bar', ariaLabel: 'Model' },
      this.#button,
      this.#facts,
      this.#loading,
      this.#times,
    );
    this.#describe(undefined);
  }

  /** Shorter side of the model's input in pixels, as wished. */
  get shortSide(): number | undefined {
    return this.#shortSide ?? this.#request?.shortSide ?? shortSides[this.#task];
  }

  /** Asks for another model; the next run opens it. */
  ask(request: OpenRequest): void {
    if (this.#request?.id === request.id) return;
    this.#before = this.#request;
    this.#request = request;
    this.#notices.clear(`model ${this.#task}`);
    this.#frames = [];
    this.#describe(undefined);
    this.#changed();
  }

  /** Another input size for the same model. */
  resize(shortSide: number): void {
    this.#shortSide = shortSide;
    if (this.#request)
      this.ask({ ...this.#request, shortSide, id: `${this.#request.id.replace(/ \d+$/, '')} ${shortSide}` });
  }

  /** Files that the visitor gives: a checkpoint, or the files of a folder. */
  give(given: readonly File[]): void {
    const [first] = given;
    const title =
      given.length === 1
        ? first!.name
        : `${first!.webkitRelativePath.split('/')[0] || 'folder'}, ${given.length} files`;
    this.#askFor(title, { kind: 'files', files: given }, `file ${++files}`);
  }

  #askFor(title: string, from: OpenRequest['from'], id = title): void {
    const shortSide = this.shortSide;
    this.ask({
      id: `${this.#task} ${id} ${shortSide}`,
      task: this.#task,
      title,
      from,
      ...(shortSide !== undefined && { shortSide }),
    });
  }

  /**
   * Opens the model, unless it is open; undefined where there is none yet. After an abort or an error the model before is
   * asked for again.
   *
   * @param image what it will run on, so that it warms up for images of that shape
   */
  async ensure(image?: {
    readonly width: number;
    readonly height: number;
  }): Promise<OpenedModel | undefined> {
    const request = this.#request;
    if (request === undefined) return undefined;
    if (this.#host.opened === undefined || this.#button.dataset['id'] !== request.id) {
      this.#loading.hidden = false;
      this.#bar.removeAttribute('value');
      this.#barText.textContent = 'loading';
    }
    try {
      const model = await this.#host.open({ ...request, ...(image && { image }) }, (progress) =>
        this.#show(progress),
      );
      this.#describe(model);
      return model;
    } catch (error) {
      if (this.#request !== request) throw error;
      const title = request.title;
      const fallback =
        this.#before ?? (forTask(this.#task)[0] && embeddedRequest(this.#task, forTask(this.#task)[0]!));
      this.#request = fallback?.id === request.id ? undefined : fallback;
      this.#before = undefined;
      this.#describe(undefined);
      const again = { label: 'Try again', run: () => this.ask(request) };
      if (isAbort(error))
        this.#notices.say(
          `model ${this.#task}`,
          'info',
          `Loading ${title} was stopped. What had arrived is kept; it goes on from there.`,
          again,
        );
      else
        this.#notices.say(`model ${this.#task}`, 'error', `${title}: ${sentenceOf(error)}`, again, {
          label: 'Choose a model',
          run: () => void this.choose(),
        });
      return this.#request === undefined ? undefined : this.ensure(image);
    } finally {
      this.#loading.hidden = true;
    }
  }

  #show({ loaded, total, secondsLeft }: Progress): void {
    if (total === undefined) this.#bar.removeAttribute('value');
    else Object.assign(this.#bar, { max: total, value: loaded });
    const left = secondsLeft === undefined || secondsLeft < 1 ? '' : `, ${Math.round(secondsLeft)} s left`;
    this.#barText.textContent =
      total !== undefined && loaded >= total
        ? 'preparing the device'
        : `${megabytes(loaded)}${total === undefined ? '' : ` of ${megabytes(total)}`}${left}`;
  }

  #describe(model: OpenedModel | undefined): void {
    const title = this.#request?.title;
    fill(
      this.#button,
      h('span', { className: 'name', textContent: title ?? 'Choose a model' }),
      h('span', { className: 'change', textContent: title === undefined ? '' : 'change' }),
    );
    this.#button.dataset['id'] = model === undefined ? '' : this.#request!.id;
    this.#button.classList.toggle('primary', title === undefined);
    const about = embedded.find(({ name }) => name === title)?.about;
    this.#facts.textContent = [
      ...(about ? [about] : title === undefined ? [noHead[this.#task]] : []),
      ...(model
        ? [
            `${model.variant}: ${count(model.params)} parameters, ${count(model.macs)} multiply-adds per image`,
          ]
        : []),
      ...(model && model.unused > 0 ? [`${model.unused} parameters of the file are for something else`] : []),
      ...(model?.warnings ?? []),
    ].join('. ');
    if (model) this.times({ ...model.milliseconds });
    else fill(this.#times);
  }

  /** An image took so long. */
  took(milliseconds: number): void {
    this.#frames = [...this.#frames.slice(-14), milliseconds];
    const model = this.#host.opened;
    if (model)
      this.times({
        ...model.milliseconds,
        image: [...this.#frames].sort((a, b) => a - b)[this.#frames.length >> 1],
      });
  }

  private times({
    download,
    load,
    warmUp,
    image,
  }: {
    readonly download: number;
    readonly load: number;
    readonly warmUp: number;
    readonly image?: number | undefined;
  }): void {
    const entries = [
      ['download', download],
      ['load', load],
      ['warm-up', warmUp],
      ...(image === undefined ? [] : [['image', image] as const]),
    ] as const;
    fill(
      this.#times,
      ...entries.map(([name, milliseconds]) =>
        h(
          'div',
          { attrs: { 'data-time': name } },
          h('dt', { textContent: name }),
          h('dd', { textContent: duration(milliseconds) }),
        ),
      ),
    );
  }

  async choose(): Promise<void> {
    const { chooseModel } = await import('./modelDialog.ts');
    const chosen = await chooseModel(
      this.#task,
      noHead[this.#task],
      forTask(this.#task),
      noHead[this.#task] === '' ? () => this.#host.use((engine) => engine.published()) : undefined,
    );
    if (chosen === undefined) return;
    if (chosen.kind === 'embedded') this.ask(embeddedRequest(this.#task, chosen.model));
    else if (chosen.kind === 'name') this.#askFor(chosen.name, chosen);
    else this.give(chosen.files);
  }
}
