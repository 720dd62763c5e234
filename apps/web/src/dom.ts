type Child = Node | string | undefined | false;
type Props<T> = { readonly [K in keyof T]?: T[K] | undefined } & {
  readonly attrs?: Readonly<Record<string, string | undefined>>;
};

/**
 * Creates an HTML element with properties, attributes and children.
 *
 * @example
 * h('button', { className: 'primary', onclick: train }, 'Train');
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  { attrs = {}, ...props }: Props<HTMLElementTagNameMap[K]> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props))
    if (value !== undefined) Reflect.set(element, name, value);
  for (const [name, value] of Object.entries(attrs))
    if (value !== undefined) element.setAttribute(name, value);
  element.append(...withoutEmpty(children));
  return element;
}

/** Creates an SVG element, whose properties are all attributes. */
export function svg(
  tag: string,
  attrs: Readonly<Record<string, string | number>> = {},
  ...children: readonly Child[]
): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attrs)) element.setAttribute(name, String(value));
  element.append(...withoutEmpty(children));
  return element;
}

const withoutEmpty = (children: readonly Child[]): (Node | string)[] =>
  children.filter((child) => child !== undefined && child !== false);

/** A button with a text. */
export const button = (
  textContent: string,
  onclick: () => void,
  props: Props<HTMLButtonElement> = {},
): HTMLButtonElement => h('button', { type: 'button', textContent, onclick, ...props });

/** Replaces an element's children. */
export const setChildren = (element: Element, ...children: readonly Child[]): void =>
  element.replaceChildren(...withoutEmpty(children));

/** Sets a select's options and chooses `selected` if it is one of them. Default: what was selected before. */
export function setOptions(
  select: HTMLSelectElement,
  options: readonly (readonly [value: string, text: string])[],
  selected = select.value,
): void {
  setChildren(select, ...options.map(([value, text]) => h('option', { value, textContent: text })));
  if (options.some(([value]) => value === selected)) select.value = selected;
}

/** Options for the numbers 1 … count, whose values count from 0. */
export const numberedOptions = (count: number): (readonly [value: string, text: string])[] =>
  Array.from({ length: count }, (_, i) => [String(i), String(i + 1)]);

/** Options for the sides of an input in pixels. */
export const sideOptions = (sides: readonly number[]): (readonly [value: string, text: string])[] =>
  sides.map((side) => [String(side), `${side} px`]);

/** A label with its control. */
export const field = (label: string, control: HTMLElement): HTMLLabelElement =>
  h('label', { className: 'field' }, h('span', { textContent: label }), control);

/** A table with a header row. */
export const table = (columns: readonly string[], body: HTMLTableSectionElement): HTMLTableElement =>
  h(
    'table',
    {},
    h('thead', {}, h('tr', {}, ...columns.map((name) => h('th', { scope: 'col', textContent: name })))),
    body,
  );

/** Draws a bitmap on a canvas, which takes the bitmap's size, and closes the bitmap. */
export function drawBitmap(canvas: HTMLCanvasElement, bitmap: ImageBitmap): void {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
  bitmap.close();
}
