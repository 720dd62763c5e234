import { Camera } from './camera.ts';
import { button, drawBitmap, h, setChildren } from './dom.ts';
import { scaleDown } from './images.ts';
import type { Notices } from './notices.ts';
import type { Sample } from './samples.ts';

/** Larger images are scaled down to this many pixels: no model here sees more, and every copy takes time. */
const longestSide = 2048;

/** A position on the image, as fractions of its width and height. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The image that all tabs work on: a sample, a file or the camera's stream, and what is drawn over it. */
export class ImageViewer {
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
  readonly #frame = h('div', { className: 'frame' }, this.#canvas, this.#video, this.#overlay, this.#marker);
  readonly #samples = h('div', { className: 'samples', attrs: { role: 'group', 'aria-label': 'Samples' } });
  readonly #cameraButton = button('Camera', () => void this.#toggleCamera(), { ariaPressed: 'false' });
  readonly #camera = new Camera(this.#video);
  readonly #notices: Notices;
  readonly #onImage: () => void;
  #image: ImageBitmap | undefined;
  #isVisitors = false;
  #onPoint: ((point: Point) => void) | undefined;
  #onDropFiles: ((files: readonly File[]) => void) | undefined;

  /** @param onImage called when another image is shown, and when the camera starts or stops */
  constructor(notices: Notices, onImage: () => void) {
    this.#notices = notices;
    this.#onImage = onImage;
    this.element = h(
      'section',
      { className: 'viewer', ariaLabel: 'Image' },
      this.#frame,
      this.#createTools(),
      this.#samples,
    );
    this.#frame.addEventListener('click', (event) => {
      const { left, top, width, height } = this.#frame.getBoundingClientRect();
      this.#onPoint?.({ x: (event.clientX - left) / width, y: (event.clientY - top) / height });
    });
    this.#acceptPaste();
    this.#acceptDrop();
    document.addEventListener('visibilitychange', () => {
      // Some browsers pause the video of a hidden page.
      if (!document.hidden && this.#camera.on) void this.#video.play();
    });
  }

  #createTools(): HTMLElement {
    const input = h('input', {
      type: 'file',
      accept: 'image/*',
      hidden: true,
      ariaLabel: 'Image file',
      onchange: () => input.files?.[0] && void this.#open(input.files[0]),
    });
    const hint = 'or drop an image or a checkpoint, or paste an image';
    return h(
      'div',
      { className: 'tools' },
      button('Open image', () => input.click(), { className: 'primary' }),
      input,
      this.#cameraButton,
      h('span', { className: 'hint', textContent: hint }),
    );
  }

  #acceptPaste(): void {
    addEventListener('paste', ({ clipboardData }) => {
      const file = [...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'));
      if (file) void this.#open(file);
    });
  }

  #acceptDrop(): void {
    const { classList } = document.body;
    addEventListener('dragover', (event) => {
      event.preventDefault();
      classList.add('dropping');
    });
    addEventListener('dragleave', (event) => {
      // Without a related target the pointer has left the page, not just an element.
      if (event.relatedTarget === null) classList.remove('dropping');
    });
    addEventListener('drop', (event) => {
      event.preventDefault();
      classList.remove('dropping');
      if (event.dataTransfer) void this.#drop(event.dataTransfer);
    });
  }

  async #drop(data: DataTransfer): Promise<void> {
    const { droppedFiles } = await import('./files.ts');
    const files = await droppedFiles(data);
    const [first] = files;
    if (files.length === 1 && first!.type.startsWith('image/')) await this.#open(first!);
    else if (files.length > 0) this.#onDropFiles?.(files);
  }

  /** Receives dropped files other than a single image. */
  set onDropFiles(listener: (files: readonly File[]) => void) {
    this.#onDropFiles = listener;
  }

  /** Receives clicks on the image. */
  set onPoint(listener: ((point: Point) => void) | undefined) {
    this.#onPoint = listener;
    this.#frame.classList.toggle('pointing', listener !== undefined);
    this.#marker.hidden = true;
  }

  /** Whether the camera is on. */
  get live(): boolean {
    return this.#camera.on;
  }

  get video(): HTMLVideoElement {
    return this.#video;
  }

  /** Size of the image in pixels; 4:3 while there is none. */
  get size(): { readonly width: number; readonly height: number } {
    if (this.live) return { width: this.#video.videoWidth, height: this.#video.videoHeight };
    return { width: this.#image?.width ?? 4, height: this.#image?.height ?? 3 };
  }

  get empty(): boolean {
    return !this.live && this.#image === undefined;
  }

  /** The name of the image. */
  get imageName(): string | undefined {
    return this.#image === undefined ? undefined : (this.#canvas.getAttribute('aria-label') ?? undefined);
  }

  /** Whether the image is the visitor's own. */
  get isVisitors(): boolean {
    return this.live || this.#isVisitors;
  }

  /** A copy of the image as it is now. It belongs to the caller. */
  snapshot(): Promise<ImageBitmap> {
    return createImageBitmap(this.live ? this.#video : this.#image!);
  }

  /** Offers samples below the image. */
  offerSamples(samples: readonly Sample[], choose: (sample: Sample) => void): void {
    setChildren(this.#samples, ...samples.map((sample) => sampleButton(sample, () => choose(sample))));
  }

  /** Shows an image from a file, or a notice if it cannot be read. */
  async #open(file: Blob): Promise<void> {
    const name = file instanceof File ? file.name : 'image';
    let bitmap: ImageBitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
    } catch {
      this.#notices.show(
        'image',
        'error',
        `${name} is not an image that this browser can read. Try a JPEG, PNG or WebP file.`,
      );
      return;
    }
    this.#notices.clear('image');
    const scaled = await scaleDown(bitmap, longestSide / Math.max(bitmap.width, bitmap.height));
    this.show(scaled, name, { isVisitors: true });
  }

  /**
   * Shows an image, which belongs to the viewer from then on, in place of the one before or of the camera.
   */
  show(bitmap: ImageBitmap, name: string, { isVisitors = false } = {}): void {
    this.#stopCamera();
    this.#isVisitors = isVisitors;
    this.#image?.close();
    this.#image = bitmap;
    this.#canvas.width = bitmap.width;
    this.#canvas.height = bitmap.height;
    this.#canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
    this.#canvas.setAttribute('aria-label', name);
    for (const sample of this.#samples.querySelectorAll('button'))
      sample.ariaPressed = String(sample.title === name);
    this.#updateAspectRatio();
    this.clearOverlay();
    this.#onImage();
  }

  #updateAspectRatio(): void {
    const { width, height } = this.size;
    this.#frame.style.aspectRatio = `${width} / ${height}`;
    // The style sheet limits the height of tall images with it.
    this.#frame.style.setProperty('--ratio', String(width / height));
  }

  /** Stretches a bitmap over the image and closes it. */
  drawOverlay(bitmap: ImageBitmap): void {
    drawBitmap(this.#overlay, bitmap);
  }

  clearOverlay(): void {
    this.#overlay.width = this.#overlay.height = 1;
    this.#marker.hidden = true;
  }

  /** Marks a box on the image, given in fractions of its sides. */
  mark([left, top, right, bottom]: readonly [
    left: number,
    top: number,
    right: number,
    bottom: number,
  ]): void {
    this.#marker.hidden = false;
    Object.assign(this.#marker.style, {
      left: `${100 * left}%`,
      top: `${100 * top}%`,
      width: `${100 * (right - left)}%`,
      height: `${100 * (bottom - top)}%`,
    });
  }

  async #toggleCamera(): Promise<void> {
    if (this.#camera.on) {
      this.#stopCamera();
      this.#onImage();
      return;
    }
    try {
      await this.#camera.start(() => this.#onCameraEnd());
    } catch (error) {
      this.#notices.show('camera', 'warning', (error as Error).message, {
        label: 'Try again',
        run: () => void this.#toggleCamera(),
      });
      return;
    }
    this.#notices.clear('camera');
    this.#showCamera(true);
    this.#onImage();
  }

  #onCameraEnd(): void {
    this.#stopCamera();
    const message = 'The camera has stopped. Start it again, or open an image instead.';
    this.#notices.show('camera', 'warning', message);
  }

  #stopCamera(): void {
    if (!this.#camera.on) return;
    this.#camera.stop();
    this.#showCamera(false);
  }

  #showCamera(on: boolean): void {
    this.#video.hidden = !on;
    this.#canvas.hidden = on;
    this.#cameraButton.ariaPressed = String(on);
    this.#cameraButton.textContent = on ? 'Stop camera' : 'Camera';
    this.#updateAspectRatio();
    this.clearOverlay();
  }
}

function sampleButton({ id, title, draw }: Sample, onclick: () => void): HTMLButtonElement {
  const thumbnail = h('canvas', { width: 96, height: 72, attrs: { 'aria-hidden': 'true' } });
  void draw().then((bitmap) => {
    thumbnail.getContext('2d')!.drawImage(bitmap, 0, 0, 96, 72);
    bitmap.close();
  });
  return h(
    'button',
    { type: 'button', title, attrs: { 'data-sample': id }, onclick },
    thumbnail,
    h('span', { textContent: title }),
  );
}
