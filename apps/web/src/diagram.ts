import { fill, h, svg } from './dom.ts';
import type { Architecture, LayerRow, StageRow } from './protocol.ts';
import { by, bytes, count, percent } from './text.ts';

const column = 280;
const square = 112;

const text = (x: number, y: number, content: string, className = '') =>
  svg('text', { x, y, class: className }, content);

/** A grid of squares; one that is too fine to see is drawn coarser, every so many lines. */
function gridOf(
  x: number,
  y: number,
  side: number,
  rows: number,
  columns: number,
  className: string,
): SVGElement {
  const [height, wide] = rows >= columns ? [side, (side * columns) / rows] : [(side * rows) / columns, side];
  const finest = Math.max(rows, columns);
  const coarser = Math.ceil((3.4 * finest) / side);
  const lines = (n: number) => Math.max(1, Math.round(n / coarser));
  const path = [
    ...Array.from(
      { length: Math.max(0, lines(columns) - 1) },
      (_, i) => `M${x + (wide * (i + 1)) / lines(columns)} ${y}v${height}`,
    ),
    ...Array.from(
      { length: Math.max(0, lines(rows) - 1) },
      (_, i) => `M${x} ${y + (height * (i + 1)) / lines(rows)}h${wide}`,
    ),
  ].join('');
  return svg('g', { class: className }, svg('rect', { x, y, width: wide, height }), svg('path', { d: path }));
}

/** The keys' grid, as square as it was where nothing tells it. */
function keyGrid({ grid, keyTokens, tokens }: StageRow, linear: boolean): readonly [number, number] {
  if (linear) return [7, 7];
  const shrink = Math.max(1, Math.round(Math.sqrt(tokens / keyTokens)));
  return [Math.floor(grid[0] / shrink), Math.floor(grid[1] / shrink)];
}

function stageColumn(architecture: Architecture, stage: StageRow, index: number): SVGElement {
  const { dims, depths, heads, macs, linear } = architecture;
  const x = index * column;
  const [rows, columns] = keyGrid(stage, linear);
  // Queries as large as their stage's share of the first stage's side, at least readable; keys at the same scale.
  const scale = square * Math.max(0.3, [1, 0.72, 0.52, 0.38][index] ?? 0.3);
  const keySide = Math.max(9, (scale * Math.max(rows, columns)) / Math.max(...stage.grid));
  const drawnHeight = scale * Math.min(1, stage.grid[0] / stage.grid[1]);
  const shrunk = stage.keyTokens < stage.tokens;
  const top = 92;
  const share = stage.macs / macs;
  return svg(
    'g',
    { class: `stage-${index + 1}` },
    text(x + 8, 24, `Stage ${index + 1}`, 'title'),
    text(
      x + 8,
      46,
      `${depths[index]} ${depths[index] === 1 ? 'block' : 'blocks'} of width ${dims[index]}, ${heads[index]} ${heads[index] === 1 ? 'head' : 'heads'}`,
    ),
    text(x + 8, 66, `stride ${stage.stride}: ${by(stage.grid)} tokens`),
    gridOf(x + 8, top, scale, stage.grid[0], stage.grid[1], 'queries'),
    text(x + 8, top + drawnHeight + 20, `Q ${count(stage.tokens)}`, 'strong'),
    gridOf(x + 30 + scale, top, keySide, rows, columns, 'key-grid'),
    text(x + 30 + scale, top + Math.max(keySide, 12) + 18, `K, V ${count(stage.keyTokens)}`, 'strong'),
    ...(shrunk
      ? [
          text(
            x + 30 + scale,
            top + Math.max(keySide, 12) + 36,
            `${Math.round(stage.tokens / stage.keyTokens)} times fewer`,
          ),
        ]
      : [text(x + 30 + scale, top + Math.max(keySide, 12) + 36, 'as many')]),
    svg('rect', { x: x + 8, y: 236, width: column - 32, height: 10, rx: 5, class: 'track' }),
    svg('rect', {
      x: x + 8,
      y: 236,
      width: Math.max(3, (column - 32) * share),
      height: 10,
      rx: 5,
      class: 'share',
    }),
    text(x + 8, 266, `${count(stage.macs)} multiply-adds, ${percent(share)}`),
    ...(index < architecture.stages.length - 1
      ? [svg('path', { d: `M${x + column - 18} ${top + 28}l9 9l-9 9`, class: 'arrow' })]
      : []),
  );
}

const operations: Readonly<Record<string, string>> = {
  'attn.q': 'queries, one per token',
  'attn.sr': 'spatial reduction before keys and values',
  'attn.pool': 'pooled to 7 × 7 before keys and values',
  'attn.kv': 'keys and values, of the reduced map',
  'attn.scores': 'every query with every key',
  'attn.mix': 'values, weighted',
  'attn.proj': 'projection',
  'mlp.fc1': 'wider',
  'mlp.dwconv': 'position, by a 3 × 3 depthwise convolution',
  'mlp.fc2': 'back',
  'patch_embed.proj': 'patches become tokens',
};

function layerRow(layer: LayerRow, most: number): HTMLTableRowElement {
  const name = layer.path.replace(/^stages\.\d+\./, '');
  const what = operations[name.replace(/^blocks\.\d+\./, '')] ?? '';
  return h(
    'tr',
    {},
    h('th', { scope: 'row' }, h('code', { textContent: name }), h('small', { textContent: what })),
    h('td', { textContent: `${by(layer.input)} → ${by(layer.output)}` }),
    h('td', { textContent: layer.params === 0 ? '' : count(layer.params) }),
    h(
      'td',
      { className: 'bar', attrs: { style: `--share: ${layer.macs / most}` } },
      layer.macs === 0 ? '' : count(layer.macs),
    ),
    h('td', { textContent: bytes(layer.activationBytes) }),
  );
}

/** The stages side by side, queries and keys to scale, and below them the cost of every layer. */
export function drawArchitecture(element: HTMLElement, architecture: Architecture): void {
  const { version, linear, size, layers, stages, params, macs, activationBytes } = architecture;
  const most = Math.max(...layers.map((layer) => layer.macs));
  const open = new Set(
    [...element.querySelectorAll<HTMLDetailsElement>('details[open]')].map(({ dataset }) => dataset['stage']),
  );
  fill(
    element,
    h('h2', { textContent: `PVT ${version}${linear ? ', linear' : ''} at ${by(size)} pixels` }),
    h('p', {
      textContent: `${count(params)} parameters, ${count(macs)} multiply-adds, ${bytes(activationBytes)} of activations. Every token asks (Q stays whole); the keys and values it asks come from a map that is shrunk first, most where tokens are most. So attention over a fine map stays affordable.`,
    }),
    h(
      'div',
      { className: 'scroll', tabIndex: 0, attrs: { role: 'group', 'aria-label': 'Diagram of the stages' } },
      svg(
        'svg',
        {
          viewBox: `0 0 ${column * stages.length} 280`,
          role: 'img',
          'aria-label': stages
            .map((stage, i) => `stage ${i + 1}: ${stage.tokens} queries, ${stage.keyTokens} keys`)
            .join('; '),
        },
        ...stages.map((stage, i) => stageColumn(architecture, stage, i)),
      ),
    ),
    ...stages.map((stage, index) =>
      h(
        'details',
        { open: open.has(String(index)), attrs: { 'data-stage': String(index) } },
        h(
          'summary',
          {},
          h('strong', { textContent: `Layers of stage ${index + 1}` }),
          h('span', {
            textContent: `${count(stage.params)} parameters, ${count(stage.macs)} multiply-adds, ${bytes(stage.activationBytes)}`,
          }),
        ),
        h(
          'div',
          { className: 'scroll' },
          h(
            'table',
            {},
            h(
              'thead',
              {},
              h(
                'tr',
                {},
                ...['layer', 'shape', 'parameters', 'multiply-adds', 'output'].map((name) =>
                  h('th', { scope: 'col', textContent: name }),
                ),
              ),
            ),
            h(
              'tbody',
              {},
              ...layers.filter((layer) => layer.stage === index).map((layer) => layerRow(layer, most)),
            ),
          ),
        ),
      ),
    ),
  );
}
