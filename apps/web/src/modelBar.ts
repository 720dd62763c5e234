import type { LoadProgress } from '@pvt/presets';
import { button, h, setChildren } from './dom.ts';
import { defaultShortSides, embeddedModels, embeddedRequest, modelsForTask } from './models.ts';
import { isAbort, messageOf } from './notices.ts';
import type { CheckpointLocation, OpenedModel, OpenRequest, OpenTimes, TaskName } from './protocol.ts';
import type { Page } from './tabs/tab.ts';
import { formatCount, formatDuration, formatMegabytes } from './text.ts';

/** What a checkpoint for a task needs, for tasks that no published checkpoint has a head for. */
const headHints: Readonly<Partial<Record<TaskName, string>>> = {
  segment:
    'Any semantic FPN, UPerNet or SegFormer head on a PVT works: ' +
    'a checkpoint of mmsegmentation or of the official code.',
  detect:
    'Any RetinaNet on a PVT works: a checkpoint of mmdetection, of the official code, or of torchvision.',
};

/** Latencies that the shown median is taken over. */
const latencyWindow = 15;

/** How often files were chosen: files of the same name may differ. */
let fileChoices = 0;

/** A task's model: which one it is, its download, and its latency. */
export class ModelBar {
  readonly element: HTMLElement;
  readonly #task: TaskName;
  readonly #page: Page;
  readonly #button = h('button', { type: 'button', className: 'model', title: 'Choose another model' });
  readonly #facts = h('p', { className: 'facts' });
  readonly #times = h('dl', { className: 'times', attrs: { 'aria-label': 'Latency' } });
  readonly #progress = h('progress', { attrs: { 'aria-label': 'Loading the model' } });
  readonly #progressText = h('span');
  readonly #loading = h(
    'div',
    { className: 'loading', hidden: true },
    this.#progress,
    this.#progressText,
    button('Cancel', () => this.#page.host.cancel()),
  );
  /** The model that the task uses, and the one that it used before. */
  #request: OpenRequest | undefined;
  #previous: OpenRequest | undefined;
  #latencies: number[] = [];
  /** The input size that the visitor chose. */
  #shortSide: number | undefined;

  constructor(task: TaskName, page: Page) {
    this.#task = task;
    this.#page = page;
    const [first] = modelsForTask(task);
    this.#request = first && embeddedRequest(task, first);
    this.#button.addEventListener('click', () => void this.#choose());
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

  /** Shorter side of the model's input in pixels. */
  get shortSide(): number | undefined {
    return this.#shortSide ?? this.#request?.shortSide ?? defaultShortSides[this.#task];
  }

  get #noticeKey(): string {
    return `model ${this.#task}`;
  }

  /** Changes the model. The next run opens it. */
  #setRequest(request: OpenRequest): void {
    if (this.#request?.id === request.id) return;
    this.#previous = this.#request;
    this.#request = request;
    this.#page.notices.clear(this.#noticeKey);
    this.#latencies = [];
    this.#describe(undefined);
    this.#page.refresh();
  }

  /** Changes the model's input size. */
  resize(shortSide: number): void {
    this.#shortSide = shortSide;
    const request = this.#request;
    if (request !== undefined)
      this.#setRequest({ ...request, shortSide, id: `${request.id.replace(/ \d+$/, '')} ${shortSide}` });
  }

  /** Changes to the model of a checkpoint file, or of the files of a folder. */
  openFiles(files: readonly File[]): void {
    const [first] = files;
    const title =
      files.length === 1
        ? first!.name
        : `${first!.webkitRelativePath.split('/')[0] || 'folder'}, ${files.length} files`;
    this.#setLocation(title, { kind: 'files', files }, `file ${++fileChoices}`);
  }

  #setLocation(title: string, location: CheckpointLocation, id = title): void {
    const { shortSide } = this;
    this.#setRequest({
      id: `${this.#task} ${id} ${shortSide}`,
      task: this.#task,
      title,
      location,
      ...(shortSide !== undefined && { shortSide }),
    });
  }

  /**
   * Opens the model, unless it is open already. Undefined if none is chosen. If it is cancelled or fails, the
   * previous model is opened again.
   *
   * @param image what the model will run on first: it warms up with an input of that shape
   */
  async open(image?: OpenRequest['image']): Promise<OpenedModel | undefined> {
    const request = this.#request;
    if (request === undefined) return undefined;
    const { host } = this.#page;
    if (host.opened === undefined || this.#button.dataset['id'] !== request.id) this.#showLoading();
    try {
      const model = await host.open({ ...request, ...(image && { image }) }, (progress) =>
        this.#showProgress(progress),
      );
      this.#describe(model);
      return model;
    } catch (error) {
      if (this.#request !== request) throw error;
      this.#request = this.#fallbackFor(request);
      this.#previous = undefined;
      this.#describe(undefined);
      this.#showFailure(request, error);
      return await this.open(image);
    } finally {
      this.#loading.hidden = true;
    }
  }

  /** The previous model or the task's first one, unless that is what failed. */
  #fallbackFor(failed: OpenRequest): OpenRequest | undefined {
    const [first] = modelsForTask(this.#task);
    const fallback = this.#previous ?? (first && embeddedRequest(this.#task, first));
    return fallback?.id === failed.id ? undefined : fallback;
  }

  #showFailure(request: OpenRequest, error: unknown): void {
    const { notices } = this.#page;
    const retry = { label: 'Try again', run: () => this.#setRequest(request) };
    const chooseAnother = { label: 'Choose a model', run: () => void this.#choose() };
    if (isAbort(error)) {
      const text = `The download of ${request.title} was stopped. If you try again, it continues from there.`;
      notices.show(this.#noticeKey, 'info', text, retry);
    } else {
      const text = `${request.title}: ${messageOf(error)}`;
      notices.show(this.#noticeKey, 'error', text, retry, chooseAnother);
    }
  }

  #showLoading(): void {
    this.#loading.hidden = false;
    this.#progress.removeAttribute('value');
    this.#progressText.textContent = 'loading';
  }

  #showProgress({ loaded, total, secondsLeft }: LoadProgress): void {
    if (total === undefined) this.#progress.removeAttribute('value');
    else Object.assign(this.#progress, { max: total, value: loaded });
    this.#progressText.textContent =
      total !== undefined && loaded >= total
        ? 'preparing the device'
        : [
            formatMegabytes(loaded) + (total === undefined ? '' : ` of ${formatMegabytes(total)}`),
            ...(secondsLeft !== undefined && secondsLeft >= 1 ? [`${Math.round(secondsLeft)} s left`] : []),
          ].join(', ');
  }

  /** Shows the name of the chosen model and, once it is open, its facts and times. */
  #describe(model: OpenedModel | undefined): void {
    const title = this.#request?.title;
    setChildren(
      this.#button,
      h('span', { className: 'name', textContent: title ?? 'Choose a model' }),
      h('span', { className: 'change', textContent: title === undefined ? '' : 'change' }),
    );
    this.#button.dataset['id'] = model === undefined ? '' : this.#request!.id;
    this.#button.classList.toggle('primary', title === undefined);
    const description =
      title === undefined
        ? headHints[this.#task]
        : embeddedModels.find(({ name }) => name === title)?.description;
    this.#facts.textContent = [...(description ? [description] : []), ...factsOf(model)].join('. ');
    if (model) this.#showTimes(model.milliseconds);
    else setChildren(this.#times);
  }

  /** Adds the milliseconds that an image took to the median that is shown. */
  addLatency(milliseconds: number): void {
    this.#latencies = [...this.#latencies, milliseconds].slice(-latencyWindow);
    const model = this.#page.host.opened;
    const median = [...this.#latencies].sort((a, b) => a - b)[this.#latencies.length >> 1];
    if (model) this.#showTimes(model.milliseconds, median);
  }

  #showTimes({ download, load, warmUp }: OpenTimes, image?: number): void {
    const times = { download, load, 'warm-up': warmUp, ...(image !== undefined && { image }) };
    setChildren(
      this.#times,
      ...Object.entries(times).map(([name, milliseconds]) =>
        h(
          'div',
          { attrs: { 'data-time': name } },
          h('dt', { textContent: name }),
          h('dd', { textContent: formatDuration(milliseconds) }),
        ),
      ),
    );
  }

  async #choose(): Promise<void> {
    const { chooseModel } = await import('./modelDialog.ts');
    const { host } = this.#page;
    const hint = headHints[this.#task];
    const chosen = await chooseModel({
      task: this.#task,
      hint,
      models: modelsForTask(this.#task),
      // The published checkpoints are classifiers without another head.
      published: hint === undefined ? () => host.run((engine) => engine.publishedCheckpoints()) : undefined,
    });
    if (chosen === undefined) return;
    if (chosen.kind === 'embedded') this.#setRequest(embeddedRequest(this.#task, chosen.model));
    else if (chosen.kind === 'name') this.#setLocation(chosen.name, chosen);
    else this.openFiles(chosen.files);
  }
}

function factsOf(model: OpenedModel | undefined): string[] {
  if (model === undefined) return [];
  const { variant, params, macs, unused, warnings } = model;
  return [
    `${variant}: ${formatCount(params)} parameters, ${formatCount(macs)} multiply-adds per image`,
    ...(unused > 0 ? [`${unused} parameters of the file are not used by this task`] : []),
    ...warnings,
  ];
}
