import { Camera } from './camera.ts';
import { fill, h } from './dom.ts';
import type { Notices } from './notices.ts';
import type { Sample } from './samples.ts';

/** Images beyond this are scaled down as they come in: no model here sees more, and every copy costs. */
const longestSide = 2048;

/** A place on the image, in shares of its width and height. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The image that everything is about: a sample, a file, or what the camera sees, with what is drawn over it. */
export class Stage {
  readonly element: HTMLElement;
  readonly #canvas = h('canvas', {
    className: 'image',
    attrs: { role: 'img', 'aria-label': 'no image yet' },
  });
  readonly #overlay = h('canvas', { className: 'overlay', attrs: { 'aria-hidden': 'true' } });
  readonly #video = h('video', {
    className: 'image',
    muted: true,
    playsInline: true,
    hidden: true,
    attrs: { 'aria-label': 'camera' },
  });
  readonly #marker = h('div', { className: 'marker', hidden: true, attrs: { 'aria-hidden': 'true' } });
  readonly #frame = h('div', { className: 'frame' });
  readonly #samples = h('div', { className: 'samples', attrs: { role: 'group', 'aria-label': 'Samples' } });
  readonly #cameraButton = h('button', { type: 'button', textContent: 'Camera', ariaPressed: 'false' });
  readonly #camera = new Camera(this.#video);
  readonly #notices: Notices;
  readonly #onImage: () => void;
  #image: ImageBitmap | undefined;
  #visitors = false;
  #onPoint: ((point: Point) => void) | undefined;
  #onDropFiles: ((files: readonly File[]) => void) | undefined;

  constructor(notices: Notices, onImage: () => void) {
    this.#notices = notices;
    this.#onImage = onImage;
    const input = h('input', {
      type: 'file',
      accept: 'image/*',
      hidden: true,
      ariaLabel: 'Image file',
      onchange: () => input.files?.[0] && void this.open(input.files[0]),
    });
    this.#cameraButton.addEventListener('click', () => void this.toggleCamera());
    this.#frame.append(this.#canvas, this.#video, this.#overlay, this.#marker);
    this.element = h(
      'section',
      { className: 'stage', ariaLabel: 'Image' },
      this.#frame,
      h(
        'div',
        { className: 'tools' },
        h('button', {
          type: 'button',
          className: 'primary',
          textContent: 'Open image',
          onclick: () => input.click(),
        }),
        input,
        this.#cameraButton,
        h('span', {
          className: 'hint',
          textContent: 'or drop an image or a checkpoint anywhere, or paste one',
        }),
      ),
      this.#samples,
    );
    this.#frame.addEventListener('click', (event) => {
      const { left, top, width, height } = this.#frame.getBoundingClientRect();
      this.#onPoint?.({ x: (event.clientX - left) / width, y: (event.clientY - top) / height });
    });
    addEventListener('paste', ({ clipboardData }) => {
      const file = [...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'));
      if (file) void this.open(file);
    });
    addEventListener('dragover', (event) => {
      event.preventDefault();
      document.body.classList.add('dropping');
    });
    for (const name of ['dragleave', 'drop'] as const)
      addEventListener(
        name,
        (event) =>
          (event.relatedTarget === null || name === 'drop') && document.body.classList.remove('dropping'),
      );
    addEventListener('drop', (event) => {
      event.preventDefault();
      if (event.dataTransfer) void this.#drop(event.dataTransfer);
    });
    document.addEventListener('visibilitychange', () => {
      if (document.hidden || !this.#camera.on) return;
      // Some browsers pause a hidden page's video.
      void this.#video.play();
    });
  }

  async #drop(data: DataTransfer): Promise<void> {
    const { droppedFiles } = await import('./files.ts');
    const files = await droppedFiles(data);
    const [first] = files;
    if (files.length === 1 && first!.type.startsWith('image/')) await this.open(first!);
    else if (files.length > 0) this.#onDropFiles?.(files);
  }

  /** Who takes files that are dropped and are no single image. */
  set onDropFiles(listener: (files: readonly File[]) => void) {
    this.#onDropFiles = listener;
  }

  /** Who hears of clicks on the image and, with arrow keys, of steps; nobody by default. */
  set onPoint(listener: ((point: Point) => void) | undefined) {
    this.#onPoint = listener;
    this.#frame.classList.toggle('pointing', listener !== undefined);
    this.#marker.hidden = true;
  }

  get live(): boolean {
    return this.#camera.on;
  }

  get video(): HTMLVideoElement {
    return this.#video;
  }

  /** Width and height of what is shown. */
  get size(): { readonly width: number; readonly height: number } {
    return this.live
      ? { width: this.#video.videoWidth, height: this.#video.videoHeight }
      : { width: this.#image?.width ?? 4, height: this.#image?.height ?? 3 };
  }

  get empty(): boolean {
    return !this.live && this.#image === undefined;
  }

  /** What the image is called. */
  get shown(): string | undefined {
    return this.#image === undefined ? undefined : (this.#canvas.getAttribute('aria-label') ?? undefined);
  }

  /** Whether what is shown is the visitor's own. */
  get visitors(): boolean {
    return this.live || this.#visitors;
  }

  /** A copy of what is shown now, for the worker to keep. */
  snapshot(): Promise<ImageBitmap> {
    return createImageBitmap(this.live ? this.#video : this.#image!);
  }

  showSamples(samples: readonly Sample[], choose: (sample: Sample) => void): void {
    fill(
      this.#samples,
      ...samples.map((sample) => {
        const thumbnail = h('canvas', { width: 96, height: 72, attrs: { 'aria-hidden': 'true' } });
        void sample
          .draw()
          .then((bitmap) => (thumbnail.getContext('2d')!.drawImage(bitmap, 0, 0, 96, 72), bitmap.close()));
        return h(
          'button',
          {
            type: 'button',
            title: sample.title,
            attrs: { 'data-sample': sample.id },
            onclick: () => choose(sample),
          },
          thumbnail,
          h('span', { textContent: sample.title }),
        );
      }),
    );
  }

  /** Shows an image from a file; a sentence tells of one that cannot be read. */
  async open(file: Blob, name = file instanceof File ? file.name : 'image'): Promise<void> {
    let bitmap: ImageBitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
    } catch {
      this.#notices.say(
        'image',
        'error',
        `${name} is not an image that this browser can read; it may be broken or of another kind. Try a JPEG, PNG or WebP.`,
      );
      return;
    }
    const scale = longestSide / Math.max(bitmap.width, bitmap.height);
    if (scale < 1) {
      const smaller = await createImageBitmap(bitmap, {
        resizeWidth: Math.max(1, Math.round(bitmap.width * scale)),
        resizeHeight: Math.max(1, Math.round(bitmap.height * scale)),
        resizeQuality: 'high',
      });
      bitmap.close();
      bitmap = smaller;
    }
    this.#notices.clear('image');
    this.show(bitmap, name, true);
  }

  show(bitmap: ImageBitmap, name: string, visitors = false): void {
    this.#stopCamera();
    this.#visitors = visitors;
    this.#image?.close();
    this.#image = bitmap;
    this.#canvas.width = bitmap.width;
    this.#canvas.height = bitmap.height;
    this.#canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
    this.#canvas.setAttribute('aria-label', name);
    for (const button of this.#samples.querySelectorAll('button'))
      button.ariaPressed = String(button.title === name);
    this.#resize();
    this.clearOverlay();
    this.#onImage();
  }

  #resize(): void {
    const { width, height } = this.size;
    this.#frame.style.aspectRatio = `${width} / ${height}`;
    // Tall images are bounded by their height.
    this.#frame.style.setProperty('--ratio', String(width / height));
  }

  drawOverlay(bitmap: ImageBitmap): void {
    this.#overlay.width = bitmap.width;
    this.#overlay.height = bitmap.height;
    this.#overlay.getContext('2d')!.drawImage(bitmap, 0, 0);
    bitmap.close();
  }

  clearOverlay(): void {
    this.#overlay.width = this.#overlay.height = 1;
    this.#marker.hidden = true;
  }

  /** A box on the image, in shares of its sides. */
  mark([left, top, right, bottom]: readonly [number, number, number, number]): void {
    this.#marker.hidden = false;
    Object.assign(this.#marker.style, {
      left: `${100 * left}%`,
      top: `${100 * top}%`,
      width: `${100 * (right - left)}%`,
      height: `${100 * (bottom - top)}%`,
    });
  }

  async toggleCamera(): Promise<void> {
    if (this.#camera.on) {
      this.#stopCamera();
      this.#onImage();
      return;
    }
    try {
      await this.#camera.start(() => {
        this.#stopCamera();
        this.#notices.say(
          'camera',
          'warning',
          'The camera has stopped. Start it again, or open an image instead.',
        );
      });
    } catch (error) {
      this.#notices.say('camera', 'warning', (error as Error).message, {
        label: 'Try again',
        run: () => void this.toggleCamera(),
      });
      return;
    }
    this.#notices.clear('camera');
    this.#video.hidden = false;
    this.#canvas.hidden = true;
    this.#cameraButton.ariaPressed = 'true';
    this.#cameraButton.textContent = 'Stop camera';
    this.#resize();
    this.clearOverlay();
    this.#onImage();
  }

  #stopCamera(): void {
    if (!this.#camera.on) return;
    this.#camera.stop();
    this.#video.hidden = true;
    this.#canvas.hidden = false;
    this.#cameraButton.ariaPressed = 'false';
    this.#cameraButton.textContent = 'Camera';
    this.#resize();
    this.clearOverlay();
  }
}
