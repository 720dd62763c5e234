import { button, h } from './dom.ts';
import { scaleDown } from './images.ts';
import { formatPlural } from './text.ts';

/**
 * The visitor's images are scaled down to this shorter side in pixels, more than a model's input here has.
 */
const shortSide = 256;
/** Side of a thumbnail in pixels. */
const thumbnailSide = 56;
/** Names of unreadable files that a message lists. */
const maxListed = 3;

export interface ClassEditorOptions {
  /** Called when images are added or removed. */
  onChange(): void;
  onRemove(editor: ClassEditor): void;
  /** The image that the viewer shows. Undefined if there is none. */
  currentImage(): Promise<ImageBitmap | undefined>;
  showError(error: unknown): void;
  /** Called with a message about files that could not be read. */
  onUnreadable(message: string): void;
}

/** A class to learn: its name and its images. */
export class ClassEditor {
  readonly element: HTMLElement;
  readonly images = new Set<ImageBitmap>();
  readonly #options: ClassEditorOptions;
  readonly #nameInput: HTMLInputElement;
  readonly #count = h('span', { className: 'value' });
  readonly #thumbnails = h('div', { className: 'thumbnails' });

  constructor(name: string, options: ClassEditorOptions) {
    this.#options = options;
    this.#nameInput = h('input', {
      type: 'text',
      value: name,
      ariaLabel: 'Name of the class',
      spellcheck: false,
    });
    const removeButton = button('×', () => options.onRemove(this), {
      className: 'quiet',
      title: 'Remove this class',
      ariaLabel: `Remove class ${name}`,
    });
    this.element = h(
      'section',
      { className: 'class', ariaLabel: `Class ${name}` },
      h('div', { className: 'class-head' }, this.#nameInput, this.#count, removeButton),
      this.#createTools(name),
      this.#thumbnails,
    );
    this.element.addEventListener('drop', (event) => {
      event.preventDefault();
      // Otherwise the page would open the files too.
      event.stopPropagation();
      document.body.classList.remove('dropping');
      void this.#addFiles([...(event.dataTransfer?.files ?? [])]);
    });
    this.#updateCount();
  }

  get name(): string {
    return this.#nameInput.value.trim();
  }

  #createTools(name: string): HTMLElement {
    const input = h('input', {
      type: 'file',
      accept: 'image/*',
      multiple: true,
      hidden: true,
      ariaLabel: `Images of ${name}`,
      onchange: () => void this.#addFiles([...input.files!]).then(() => (input.value = '')),
    });
    return h(
      'div',
      { className: 'tools' },
      button('Add images', () => input.click()),
      input,
      button('Add the current image', () => void this.#addCurrent()),
    );
  }

  async #addFiles(files: readonly File[]): Promise<void> {
    const unreadable: string[] = [];
    for (const file of files) await this.add(file).catch(() => unreadable.push(file.name));
    if (unreadable.length === 0) return;
    const listed = unreadable.slice(0, maxListed).join(', ');
    const more = unreadable.length > maxListed ? ` and ${unreadable.length - maxListed} more` : '';
    this.#options.onUnreadable(`${listed}${more} could not be read as images. All other files were added.`);
  }

  async #addCurrent(): Promise<void> {
    try {
      const bitmap = await this.#options.currentImage();
      if (bitmap !== undefined) await this.add(bitmap);
    } catch (error) {
      this.#options.showError(error);
    }
  }

  /** Adds an image. @throws DOMException if it cannot be read */
  async add(source: Blob | ImageBitmap): Promise<void> {
    const bitmap = await createImageBitmap(source);
    const image = await scaleDown(bitmap, shortSide / Math.min(bitmap.width, bitmap.height));
    this.images.add(image);
    this.#thumbnails.append(this.#thumbnail(image));
    this.#updateCount();
  }

  /** A button that removes its image. */
  #thumbnail(image: ImageBitmap): HTMLButtonElement {
    const canvas = h('canvas', { width: thumbnailSide, height: thumbnailSide });
    drawSquare(canvas, image);
    const thumbnail = h(
      'button',
      {
        type: 'button',
        className: 'thumbnail',
        title: 'Remove this image',
        ariaLabel: `Remove image ${this.images.size} of ${this.name}`,
        onclick: () => {
          this.images.delete(image);
          thumbnail.remove();
          this.#updateCount();
        },
      },
      canvas,
    );
    return thumbnail;
  }

  #updateCount(): void {
    const { size } = this.images;
    this.#count.textContent = size === 0 ? 'no images' : formatPlural(size, 'image');
    this.#options.onChange();
  }

  dispose(): void {
    for (const image of this.images) image.close();
    this.images.clear();
    this.element.remove();
  }
}

/** Fills a square canvas with the centre of an image. */
function drawSquare(canvas: HTMLCanvasElement, image: ImageBitmap): void {
  const side = Math.min(image.width, image.height);
  const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
  const context = canvas.getContext('2d')!;
  context.drawImage(image, left, top, side, side, 0, 0, canvas.width, canvas.height);
}
