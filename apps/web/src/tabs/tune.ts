import { proxy, transfer } from 'comlink';
import { drawCurve } from '../curve.ts';
import { field, fill, h, svg } from '../dom.ts';
import { ModelBar } from '../modelBar.ts';
import type { TuneProgress, TuneRequest } from '../protocol.ts';
import { drawShape } from '../shapes.ts';
import { duration, percent } from '../text.ts';
import { guessList } from './classify.ts';
import type { Page, Tab } from './tab.ts';

/** Images are kept at this many pixels along their shorter side, more than any base here sees. */
const keptSide = 256;
const perEpoch = 16;

interface Class {
  readonly name: HTMLInputElement;
  readonly element: HTMLElement;
  readonly images: Set<ImageBitmap>;
  add(image: Blob | ImageBitmap): Promise<void>;
}

/** Scaled down once, when it comes in. */
async function kept(source: ImageBitmapSource & (Blob | ImageBitmap)): Promise<ImageBitmap> {
  const bitmap = await createImageBitmap(source);
  const scale = keptSide / Math.min(bitmap.width, bitmap.height);
  if (scale >= 1) return bitmap;
  const smaller = await createImageBitmap(bitmap, {
    resizeWidth: Math.round(bitmap.width * scale),
    resizeHeight: Math.round(bitmap.height * scale),
    resizeQuality: 'high',
  });
  bitmap.close();
  return smaller;
}

/** Name classes, give images, train, try, take the model along. */
export function createTuneTab(page: Page, use: (file: File) => void): Tab {
  const { host, stage, notices } = page;
  const bar = new ModelBar('tune', host, notices, page.refresh);
  const classes: Class[] = [];
  const list = h('div', { className: 'classes' });
  const trains = h(
    'select',
    {},
    h('option', { value: 'head', textContent: 'the head alone: fastest' }),
    h('option', { value: 'stage', textContent: 'the last stage too: thorough' }),
  );
  const epochs = h('input', { type: 'number', min: '1', max: '1000', value: '60' });
  trains.addEventListener('change', () => (epochs.value = trains.value === 'head' ? '60' : '15'));
  const start = h('button', {
    type: 'button',
    className: 'primary',
    textContent: 'Train',
    onclick: () => void train(),
  });
  const stop = h('button', {
    type: 'button',
    textContent: 'Stop',
    hidden: true,
    onclick: () => void host.aside((engine) => engine.stopTraining()),
  });
  const download = h('a', { className: 'button', textContent: 'Download .safetensors', hidden: true });
  const useIt = h('button', {
    type: 'button',
    textContent: 'Use under Classify',
    hidden: true,
    onclick: () => trained && use(trained),
  });
  const status = h('p', { className: 'tune-status', attrs: { role: 'status' } });
  const curve = svg('svg', { class: 'curve', role: 'img', 'aria-label': 'no loss yet' });
  const guesses = h('ol', { className: 'bars', ariaLabel: 'What the trained model says' });
  const tryIt = h(
    'section',
    { className: 'card try', hidden: true, ariaLabel: 'Try it' },
    h('h2', { textContent: 'What the model that you trained says' }),
    guesses,
  );

  let training = false;
  let trained: File | undefined;
  let snapshot: object | undefined;
  let link: string | undefined;

  addEventListener('beforeunload', (event) => {
    // Asked only while something would be lost.
    if (training || (trained !== undefined && download.dataset['taken'] === undefined))
      event.preventDefault();
  });

  function addClass(name: string): Class {
    const images = new Set<ImageBitmap>();
    const thumbnails = h('div', { className: 'thumbnails' });
    const counted = h('span', { className: 'value', textContent: 'no images' });
    const input = h('input', {
      type: 'file',
      accept: 'image/*',
      multiple: true,
      hidden: true,
      ariaLabel: `Images of ${name}`,
      onchange: () => void addFiles([...input.files!]).then(() => (input.value = '')),
    });
    const nameInput = h('input', {
      type: 'text',
      value: name,
      ariaLabel: 'Name of the class',
      spellcheck: false,
    });
    const recount = () => {
      counted.textContent =
        images.size === 0 ? 'no images' : images.size === 1 ? '1 image' : `${images.size} images`;
      start.disabled = training || classes.filter((one) => one.images.size > 0).length < 2;
    };
    const add = async (source: Blob | ImageBitmap) => {
      const bitmap = await kept(source);
      images.add(bitmap);
      const thumbnail = h('canvas', { width: 56, height: 56 });
      const side = Math.min(bitmap.width, bitmap.height);
      thumbnail
        .getContext('2d')!
        .drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, 56, 56);
      const remove = h(
        'button',
        {
          type: 'button',
          className: 'thumbnail',
          title: 'Remove this image',
          ariaLabel: `Remove image ${images.size} of ${nameInput.value}`,
        },
        thumbnail,
      );
      remove.addEventListener('click', () => {
        images.delete(bitmap);
        remove.remove();
        recount();
      });
      thumbnails.append(remove);
      recount();
    };
    const addFiles = async (files: readonly File[]) => {
      const failed: string[] = [];
      for (const file of files) await add(file).catch(() => failed.push(file.name));
      if (failed.length > 0)
        notices.say(
          'images',
          'warning',
          `${failed.slice(0, 3).join(', ')}${failed.length > 3 ? ` and ${failed.length - 3} more` : ''} could not be read as images; the others were taken.`,
        );
    };
    const element = h(
      'section',
      { className: 'class', ariaLabel: `Class ${name}` },
      h(
        'div',
        { className: 'class-head' },
        nameInput,
        counted,
        h('button', {
          type: 'button',
          className: 'quiet',
          textContent: '×',
          title: 'Remove this class',
          ariaLabel: `Remove class ${name}`,
          onclick: () => removeClass(one),
        }),
      ),
      h(
        'div',
        { className: 'tools' },
        h('button', { type: 'button', textContent: 'Add images', onclick: () => input.click() }),
        input,
        h('button', {
          type: 'button',
          textContent: 'Take what is shown',
          onclick: () => stage.empty || void stage.snapshot().then(add, page.fail),
        }),
      ),
      thumbnails,
    );
    element.addEventListener('drop', (event) => {
      event.preventDefault();
      event.stopPropagation();
      document.body.classList.remove('dropping');
      void addFiles([...(event.dataTransfer?.files ?? [])]);
    });
    const one: Class = { name: nameInput, element, images, add };
    classes.push(one);
    list.append(element);
    recount();
    return one;
  }

  function removeClass(one: Class): void {
    classes.splice(classes.indexOf(one), 1);
    for (const bitmap of one.images) bitmap.close();
    one.element.remove();
    start.disabled = classes.filter(({ images }) => images.size > 0).length < 2;
  }

  /** Two drawn kinds, for whoever only wants to see it work. */
  async function fillWithShapes(): Promise<void> {
    while (classes.length > 0) removeClass(classes[0]!);
    for (const kind of ['stripes', 'dots'] as const) {
      const one = addClass(kind);
      for (let number = 0; number < 8; number++) await one.add(drawShape(kind, number));
    }
    stage.show(drawShape('dots', 99), 'a drawn image of dots', true);
  }

  async function train(): Promise<void> {
    if (training) return;
    const given = classes.filter(({ images }) => images.size > 0);
    const names = given.map(({ name }, i) => name.value.trim() || `class ${i + 1}`);
    const count = given.reduce((sum, { images }) => sum + images.size, 0);
    const steps = Number(epochs.value) * Math.ceil(count / perEpoch);
    const losses: number[] = [];
    let right: number | undefined;
    training = true;
    snapshot = undefined;
    start.disabled = true;
    stop.hidden = false;
    download.hidden = useIt.hidden = true;
    tryIt.hidden = false;
    status.textContent = 'loading the base';
    const tell = (progress: TuneProgress) => {
      losses.push(...progress.losses);
      snapshot = progress.snapshot ?? snapshot;
      right = progress.right ?? right;
      const { secondsLeft } = progress;
      status.textContent = `${losses.length} of ${steps} steps${right === undefined ? '' : `, ${right} of your ${count} images right`}${secondsLeft > 1 ? `, ${Math.round(secondsLeft)} s left` : ''}`;
      drawCurve(curve, losses, steps);
    };
    try {
      if ((await bar.ensure()) === undefined) return;
      status.textContent = 'looking at your images';
      const tuned = await host.use(async (engine) => {
        // After a lost device this is called again, and goes on from the last snapshot.
        const resume = snapshot as { readonly progress: { readonly losses: readonly number[] } } | undefined;
        if (resume) losses.splice(0, losses.length, ...resume.progress.losses);
        else losses.length = 0;
        const bitmaps = await Promise.all(
          given.flatMap(({ images }, label) =>
            [...images].map(async (bitmap) => ({ label, bitmap: await createImageBitmap(bitmap) })),
          ),
        );
        const request: TuneRequest = {
          names,
          examples: bitmaps,
          trains: trains.value === 'head' ? 'head' : 'stage',
          epochs: Number(epochs.value),
          ...(resume && { resume }),
        };
        return engine.train(
          transfer(
            request,
            bitmaps.map(({ bitmap }) => bitmap),
          ),
          proxy(tell),
        );
      });
      finish(
        new File(
          [tuned.file as Uint8Array<ArrayBuffer>],
          `${names
            .join('-')
            .replace(/[^\w-]+/g, '_')
            .slice(0, 60)}.safetensors`,
        ),
      );
      status.textContent = `${tuned.reason === 'aborted' ? 'Stopped' : 'Done'} after ${tuned.steps} steps in ${duration(1000 * tuned.seconds)}: ${tuned.right} of your ${count} images right (${percent(tuned.right / count)}).`;
      page.announce(status.textContent);
    } catch (error) {
      status.textContent = snapshot === undefined ? 'Nothing was trained.' : 'The run was cut off.';
      page.fail(error);
    } finally {
      training = false;
      stop.hidden = true;
      start.disabled = false;
      start.textContent = trained === undefined ? 'Train' : 'Train again';
      page.refresh();
    }
  }

  function finish(file: File): void {
    trained = file;
    if (link !== undefined) URL.revokeObjectURL(link);
    link = URL.createObjectURL(file);
    delete download.dataset['taken'];
    Object.assign(download, {
      href: link,
      download: file.name,
      hidden: false,
      onclick: () => (download.dataset['taken'] = 'yes'),
    });
    useIt.hidden = false;
  }

  addClass('class 1');
  addClass('class 2');
  drawCurve(curve, [], 60);

  return {
    name: 'tune',
    title: 'Fine-tune',
    panel: h(
      'div',
      {},
      bar.element,
      h('h2', { textContent: 'What shall it tell apart?' }),
      list,
      h(
        'div',
        { className: 'tools' },
        h('button', {
          type: 'button',
          textContent: 'Add class',
          onclick: () => addClass(`class ${classes.length + 1}`),
        }),
        h('button', {
          type: 'button',
          className: 'quiet',
          textContent: 'Fill with drawn examples',
          onclick: () => void fillWithShapes(),
        }),
      ),
      h(
        'div',
        { className: 'fields' },
        field('What trains', trains),
        field('Passes over the images', epochs),
      ),
      h('div', { className: 'tools' }, start, stop, useIt, download),
      status,
      curve,
    ),
    under: tryIt,
    take: (files) => {
      if (files.every(({ type }) => type.startsWith('image/')))
        notices.say('images', 'info', 'Drop images onto the class that they show.');
      else bar.give(files);
    },
    async run() {
      if (training) {
        // The model that is learning answers between two of its steps.
        const found = await host.aside(async (engine) => {
          const bitmap = await stage.snapshot();
          return engine.peek(transfer(bitmap, [bitmap]));
        });
        if (found) fill(guesses, ...guessList(found));
        return;
      }
      stage.clearOverlay();
      if (trained === undefined) {
        await bar.ensure();
        return;
      }
      const file = trained;
      await host.open(
        { id: `tuned ${link}`, task: 'classify', title: file.name, from: { kind: 'files', files: [file] } },
        () => {},
      );
      if (stage.empty) return;
      const { guesses: found } = await host.use(async (engine) => {
        const bitmap = await stage.snapshot();
        return engine.classify(transfer(bitmap, [bitmap]), 10);
      });
      fill(guesses, ...guessList(found));
      if (!stage.live && found[0]) page.announce(`${found[0].name}, ${percent(found[0].probability)}`);
    },
  };
}
