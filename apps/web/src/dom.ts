type Child = Node | string | undefined | false;
type Props<T> = { readonly [K in keyof T]?: T[K] | undefined } & {
  readonly attrs?: Readonly<Record<string, string | undefined>>;
};

/**
 * An element with properties and children.
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
  element.append(...present(children));
  return element;
}

/** The same for SVG, whose properties are all attributes. */
export function svg(
  tag: string,
  attrs: Readonly<Record<string, string | number>> = {},
  ...children: readonly Child[]
): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attrs)) element.setAttribute(name, String(value));
  element.append(...present(children));
  return element;
}

const present = (children: readonly Child[]): (Node | string)[] =>
  children.filter((child) => child !== undefined && child !== false);

/** Shows one of several elements' contents. */
export const fill = (element: Element, ...children: readonly Child[]): void =>
  element.replaceChildren(...present(children));

/** Options of a select, by value and text. */
export function options(
  select: HTMLSelectElement,
  entries: readonly (readonly [value: string, text: string])[],
  chosen = select.value,
): void {
  fill(select, ...entries.map(([value, text]) => h('option', { value, textContent: text })));
  if (entries.some(([value]) => value === chosen)) select.value = chosen;
}

/** A label with its control. */
export const field = (label: string, control: HTMLElement): HTMLLabelElement =>
  h('label', { className: 'field' }, h('span', { textContent: label }), control);

/** Puts a bitmap onto a canvas of its size, and frees it. */
export function show(canvas: HTMLCanvasElement, bitmap: ImageBitmap): void {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
  bitmap.close();
}
