import type { Prediction } from '@pvt/heads';
import type { Snapshot } from '@pvt/training';
import { proxy, transfer } from 'comlink';
import { ClassEditor } from '../classEditor.ts';
import { button, field, h, setChildren, svg } from '../dom.ts';
import { drawLossCurve } from '../lossCurve.ts';
import { ModelBar } from '../modelBar.ts';
import type { LabelledBitmap, Tuned, TuneProgress, TuneRequest } from '../protocol.ts';
import { drawShape, shapeKinds } from '../shapes.ts';
import { formatDuration, formatPercent } from '../text.ts';
import { predictionItems } from './classify.ts';
import type { Page, Tab } from './tab.ts';

const batchSize = 16;
const defaultEpochs = { head: '60', stage: '15' } as const;
/** Images of each kind that "Fill with drawn examples" adds. */
const shapesPerKind = 8;
/** Predictions that are listed for a trained model. */
const listedPredictions = 10;

/** What a run trains on, and what the page knows about it so far. */
interface Run {
  readonly names: readonly string[];
  readonly classes: readonly ClassEditor[];
  readonly imageCount: number;
  readonly epochs: number;
  readonly trainable: TuneRequest['trainable'];
  readonly steps: number;
  readonly losses: number[];
  correct: number | undefined;
  snapshot: Snapshot | undefined;
}

/** Fine-tuning: the visitor's classes and images, the run, and the trained model. */
class TuneTab implements Tab {
  readonly name = 'tune';
  readonly title = 'Fine-tune';
  readonly panel: HTMLElement;
  readonly under: HTMLElement;
  readonly #page: Page;
  readonly #bar: ModelBar;
  readonly #classes: ClassEditor[] = [];
  readonly #classList = h('div', { className: 'classes' });
  readonly #trainable = h(
    'select',
    {},
    h('option', { value: 'head', textContent: 'the head only: fastest' }),
    h('option', { value: 'stage', textContent: 'the last stage too: slower, more accurate' }),
  );
  readonly #epochs = h('input', { type: 'number', min: '1', max: '1000', value: defaultEpochs.head });
  readonly #startButton = button('Train', () => void this.#train(), { className: 'primary' });
  readonly #stopButton: HTMLButtonElement;
  readonly #downloadLink = h('a', {
    className: 'button',
    textContent: 'Download .safetensors',
    hidden: true,
    onclick: () => (this.#downloaded = true),
  });
  readonly #useButton: HTMLButtonElement;
  readonly #status = h('p', { className: 'tune-status', attrs: { role: 'status' } });
  readonly #curve = svg('svg', { class: 'curve', role: 'img', 'aria-label': 'no loss yet' });
  readonly #predictions = h('ol', { className: 'bars', ariaLabel: 'Predictions of the trained model' });
  #training = false;
  /** The file of the last run, its object URL, and whether the visitor has downloaded it. */
  #trained: { readonly file: File; readonly url: string } | undefined;
  #downloaded = false;

  /** @param useModel called with the file of a trained model that the visitor wants to use */
  constructor(page: Page, useModel: (file: File) => void) {
    this.#page = page;
    this.#bar = new ModelBar('tune', page);
    this.#stopButton = button('Stop', () => this.#stop(), { hidden: true });
    const useTrained = () => this.#trained && useModel(this.#trained.file);
    this.#useButton = button('Use under Classify', useTrained, { hidden: true });
    this.#trainable.addEventListener('change', () => {
      this.#epochs.value = defaultEpochs[this.#selectedTrainable];
    });
    addEventListener('beforeunload', (event) => {
      // The browser asks for confirmation only if something would be lost.
      if (this.#training || (this.#trained !== undefined && !this.#downloaded)) event.preventDefault();
    });
    this.panel = this.#createPanel();
    this.under = h(
      'section',
      { className: 'card try', hidden: true, ariaLabel: 'Predictions' },
      h('h2', { textContent: 'Predictions of your model' }),
      this.#predictions,
    );
    this.#addClass('class 1');
    this.#addClass('class 2');
    drawLossCurve(this.#curve, [], Number(defaultEpochs.head));
  }

  #createPanel(): HTMLElement {
    const addClass = () => this.#addClass(`class ${this.#classes.length + 1}`);
    return h(
      'div',
      {},
      this.#bar.element,
      h('h2', { textContent: 'Classes to learn' }),
      this.#classList,
      h(
        'div',
        { className: 'tools' },
        button('Add class', addClass),
        button('Fill with drawn examples', () => void this.#fillWithShapes(), { className: 'quiet' }),
      ),
      h(
        'div',
        { className: 'fields' },
        field('What to train', this.#trainable),
        field('Epochs', this.#epochs),
      ),
      h(
        'div',
        { className: 'tools' },
        this.#startButton,
        this.#stopButton,
        this.#useButton,
        this.#downloadLink,
      ),
      this.#status,
      this.#curve,
    );
  }

  get #selectedTrainable(): TuneRequest['trainable'] {
    return this.#trainable.value === 'head' ? 'head' : 'stage';
  }

  #addClass(name: string): ClassEditor {
    const { viewer, notices, showError } = this.#page;
    const editor = new ClassEditor(name, {
      onChange: () => this.#updateStartButton(),
      onRemove: (removed) => this.#removeClass(removed),
      currentImage: async () => (viewer.empty ? undefined : viewer.snapshot()),
      showError,
      onUnreadable: (message) => notices.show('images', 'warning', message),
    });
    this.#classes.push(editor);
    this.#classList.append(editor.element);
    this.#updateStartButton();
    return editor;
  }

  #removeClass(editor: ClassEditor): void {
    this.#classes.splice(this.#classes.indexOf(editor), 1);
    editor.dispose();
    this.#updateStartButton();
  }

  #classesWithImages(): ClassEditor[] {
    return this.#classes.filter(({ images }) => images.size > 0);
  }

  #updateStartButton(): void {
    this.#startButton.disabled = this.#training || this.#classesWithImages().length < 2;
  }

  /** Two classes of drawn images, for visitors without images of their own. */
  async #fillWithShapes(): Promise<void> {
    while (this.#classes.length > 0) this.#removeClass(this.#classes[0]!);
    for (const kind of shapeKinds) {
      const editor = this.#addClass(kind);
      for (let seed = 0; seed < shapesPerKind; seed++) await editor.add(drawShape(kind, seed));
    }
    // A seed that no class has an image of.
    this.#page.viewer.show(drawShape('dots', 99), 'a drawn image of dots', { isVisitors: true });
  }

  #newRun(): Run {
    const classes = this.#classesWithImages();
    const imageCount = classes.reduce((sum, { images }) => sum + images.size, 0);
    const epochs = Number(this.#epochs.value);
    return {
      names: classes.map(({ name }, i) => name || `class ${i + 1}`),
      classes,
      imageCount,
      epochs,
      trainable: this.#selectedTrainable,
      steps: epochs * Math.ceil(imageCount / batchSize),
      losses: [],
      correct: undefined,
      snapshot: undefined,
    };
  }

  async #train(): Promise<void> {
    if (this.#training) return;
    const run = this.#newRun();
    this.#setTraining(true);
    this.#downloadLink.hidden = this.#useButton.hidden = true;
    this.under.hidden = false;
    this.#status.textContent = 'loading the model to start from';
    try {
      if ((await this.#bar.open()) === undefined) return;
      this.#status.textContent = 'preparing your images';
      const tuned = await this.#page.host.run(async (engine) => {
        const request = await requestOf(run);
        const bitmaps = request.images.map(({ bitmap }) => bitmap);
        const onProgress = proxy((progress: TuneProgress) => this.#showProgress(run, progress));
        return engine.train(transfer(request, bitmaps), onProgress);
      });
      this.#setTrained(run, tuned);
      this.#status.textContent = summaryOf(run, tuned);
      this.#page.announce(this.#status.textContent);
    } catch (error) {
      const interrupted = run.snapshot !== undefined;
      this.#status.textContent = interrupted ? 'The run was interrupted.' : 'Nothing was trained.';
      this.#page.showError(error);
    } finally {
      this.#setTraining(false);
      this.#page.refresh();
    }
  }

  #stop(): void {
    void this.#page.host.callDuringJob((engine) => engine.stopTraining());
  }

  #setTraining(training: boolean): void {
    this.#training = training;
    this.#stopButton.hidden = !training;
    this.#startButton.textContent = this.#trained === undefined ? 'Train' : 'Train again';
    this.#updateStartButton();
  }

  #showProgress(run: Run, { losses, correct, snapshot, secondsLeft }: TuneProgress): void {
    run.losses.push(...losses);
    run.snapshot = snapshot ?? run.snapshot;
    run.correct = correct ?? run.correct;
    this.#status.textContent = [
      `${run.losses.length} of ${run.steps} steps`,
      ...(run.correct === undefined ? [] : [`${run.correct} of your ${run.imageCount} images correct`]),
      ...(secondsLeft > 1 ? [`${Math.round(secondsLeft)} s left`] : []),
    ].join(', ');
    drawLossCurve(this.#curve, run.losses, run.steps);
  }

  #setTrained({ names }: Run, { file: bytes }: Tuned): void {
    const name = names
      .join('-')
      .replace(/[^\w-]+/g, '_')
      .slice(0, 60);
    const file = new File([bytes as Uint8Array<ArrayBuffer>], `${name}.safetensors`);
    if (this.#trained !== undefined) URL.revokeObjectURL(this.#trained.url);
    this.#trained = { file, url: URL.createObjectURL(file) };
    this.#downloaded = false;
    this.#downloadLink.href = this.#trained.url;
    this.#downloadLink.download = file.name;
    this.#downloadLink.hidden = this.#useButton.hidden = false;
  }

  dropFiles(files: readonly File[]): void {
    if (files.every(({ type }) => type.startsWith('image/')))
      this.#page.notices.show('images', 'info', 'Drop images onto the class that they show.');
    else this.#bar.openFiles(files);
  }

  /** Classifies the image with the model that is being trained or was trained last. */
  async run(): Promise<void> {
    if (this.#training) {
      await this.#classifyDuringTraining();
      return;
    }
    this.#page.viewer.clearOverlay();
    if (this.#trained === undefined) await this.#bar.open();
    else await this.#classifyWith(this.#trained);
  }

  async #classifyDuringTraining(): Promise<void> {
    const { host, viewer } = this.#page;
    if (viewer.empty) return;
    const predictions = await host.callDuringJob(async (engine) => {
      const bitmap = await viewer.snapshot();
      return engine.classifyDuringTraining(transfer(bitmap, [bitmap]));
    });
    if (predictions) this.#showPredictions(predictions);
  }

  async #classifyWith({ file, url }: { readonly file: File; readonly url: string }): Promise<void> {
    const { host, viewer, announce } = this.#page;
    await host.open(
      {
        id: `tuned ${url}`,
        task: 'classify',
        title: file.name,
        location: { kind: 'files', files: [file] },
      },
      () => {},
    );
    if (viewer.empty) return;
    const { predictions } = await host.run(async (engine) => {
      const bitmap = await viewer.snapshot();
      return engine.classify(transfer(bitmap, [bitmap]), listedPredictions);
    });
    this.#showPredictions(predictions);
    const [best] = predictions;
    if (!viewer.live && best) announce(`${best.name}, ${formatPercent(best.probability)}`);
  }

  #showPredictions(predictions: readonly Prediction[]): void {
    setChildren(this.#predictions, ...predictionItems(predictions));
  }
}

/** A request with copies of the images. After a lost device it continues from the last snapshot. */
async function requestOf(run: Run): Promise<TuneRequest> {
  const { names, classes, trainable, epochs, snapshot } = run;
  run.losses.splice(0, Infinity, ...(snapshot?.progress.losses ?? []));
  const images = classes.flatMap((editor, label) =>
    [...editor.images].map(async (image): Promise<LabelledBitmap> => {
      return { label, bitmap: await createImageBitmap(image) };
    }),
  );
  return {
    names,
    images: await Promise.all(images),
    trainable,
    epochs,
    ...(snapshot && { resume: snapshot }),
  };
}

function summaryOf({ imageCount }: Run, { reason, steps, seconds, correct }: Tuned): string {
  const end = reason === 'aborted' ? 'Stopped' : 'Done';
  return (
    `${end} after ${steps} steps in ${formatDuration(1000 * seconds)}: ` +
    `${correct} of your ${imageCount} images correct (${formatPercent(correct / imageCount)}).`
  );
}

export const createTuneTab = (page: Page, useModel: (file: File) => void): Tab => new TuneTab(page, useModel);
