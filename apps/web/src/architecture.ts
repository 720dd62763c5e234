import type { LayerCost, PvtConfig, Size, StageCost } from '@pvt/core';
import { h, setChildren, svg, table } from './dom.ts';
import type { Architecture } from './protocol.ts';
import { formatBytes, formatCount, formatPercent, formatPlural, formatShape } from './text.ts';

/** Width of a stage's column and height of the diagram. */
const [columnWidth, diagramHeight] = [280, 280];
/** Where the grids of queries and keys begin. */
const gridTop = 92;
/**
 * Side of the first stage's grid, and the sides of all stages relative to it: still legible in the last one.
 */
const gridSide = 112;
const gridScales = [1, 0.72, 0.52, 0.38];
const smallestScale = 0.3;
const smallestKeySide = 9;
/** Distance between grid lines at least; finer grids are drawn with fewer lines. */
const lineDistance = 3.4;

const text = (x: number, y: number, content: string, className = '') =>
  svg('text', { x, y, class: className }, content);

/** A grid whose longer side is `side`. */
function gridOf(x: number, y: number, side: number, [rows, columns]: Size, className: string): SVGElement {
  const longest = Math.max(rows, columns);
  const [width, height] = [(side * columns) / longest, (side * rows) / longest];
  const cellsPerLine = Math.ceil((lineDistance * longest) / side);
  const linesOf = (cells: number) => Math.max(1, Math.round(cells / cellsPerLine));
  const path: string[] = [];
  for (let i = 1; i < linesOf(columns); i++)
    path.push(`M${x + (width * i) / linesOf(columns)} ${y}v${height}`);
  for (let i = 1; i < linesOf(rows); i++) path.push(`M${x} ${y + (height * i) / linesOf(rows)}h${width}`);
  return svg(
    'g',
    { class: className },
    svg('rect', { x, y, width, height }),
    svg('path', { d: path.join('') }),
  );
}

/**
 * The grid that a stage's keys and values are made from: the output of its spatial reduction, if it has one.
 */
function keyGridOf({ stage, grid }: StageCost, layers: readonly LayerCost[]): Size {
  const reduction = layers.find((layer) => layer.stage === stage && layer.path.endsWith('.attn.sr'));
  if (reduction === undefined) return grid;
  const [rows, columns] = reduction.output;
  return [rows!, columns!];
}

/** A stage with its queries and keys to scale and its share of the multiply-adds. */
function stageColumn({ config, cost }: Architecture, stage: StageCost): SVGElement {
  const index = stage.stage;
  const x = index * columnWidth + 8;
  const depth = formatPlural(config.depths[index]!, 'block');
  const heads = formatPlural(config.heads[index]!, 'head');
  return svg(
    'g',
    { class: `stage-${index + 1}` },
    text(x, 24, `Stage ${index + 1}`, 'title'),
    text(x, 46, `${depth} of width ${config.dims[index]}, ${heads}`),
    text(x, 66, `stride ${stage.stride}: ${formatShape(stage.grid)} tokens`),
    ...queriesAndKeys(x, stage, keyGridOf(stage, cost.layers)),
    ...costBar(x, stage.macs, cost.macs),
    index < cost.stages.length - 1 &&
      svg('path', { d: `M${x + columnWidth - 26} ${gridTop + 28}l9 9l-9 9`, class: 'arrow' }),
  );
}

function queriesAndKeys(x: number, { stage, grid, tokens, keyTokens }: StageCost, keyGrid: Size) {
  const side = gridSide * Math.max(smallestScale, gridScales[stage] ?? smallestScale);
  const keySide = Math.max(smallestKeySide, (side * Math.max(...keyGrid)) / Math.max(...grid));
  const gridHeight = side * Math.min(1, grid[0] / grid[1]);
  const keysX = x + side + 22;
  const keysBottom = gridTop + Math.max(keySide, 12);
  const ratio = keyTokens < tokens ? `${Math.round(tokens / keyTokens)} times fewer` : 'as many';
  return [
    gridOf(x, gridTop, side, grid, 'queries'),
    text(x, gridTop + gridHeight + 20, `Q ${formatCount(tokens)}`, 'strong'),
    gridOf(keysX, gridTop, keySide, keyGrid, 'key-grid'),
    text(keysX, keysBottom + 18, `K, V ${formatCount(keyTokens)}`, 'strong'),
    text(keysX, keysBottom + 36, ratio),
  ];
}

function costBar(x: number, macs: number, totalMacs: number) {
  const [y, width, height, rx] = [236, columnWidth - 32, 10, 5];
  const share = macs / totalMacs;
  return [
    svg('rect', { x, y, width, height, rx, class: 'track' }),
    svg('rect', { x, y, width: Math.max(3, width * share), height, rx, class: 'share' }),
    text(x, 266, `${formatCount(macs)} multiply-adds, ${formatPercent(share)}`),
  ];
}

function stageDiagram(architecture: Architecture): SVGElement {
  const { stages } = architecture.cost;
  const label = stages.map(
    ({ stage, tokens, keyTokens }) => `stage ${stage + 1}: ${tokens} queries, ${keyTokens} keys`,
  );
  return svg(
    'svg',
    {
      viewBox: `0 0 ${columnWidth * stages.length} ${diagramHeight}`,
      role: 'img',
      'aria-label': label.join('; '),
    },
    ...stages.map((stage) => stageColumn(architecture, stage)),
  );
}

/** What each layer does, by its path within a block or a stage. */
const layerDescriptions: Readonly<Record<string, string>> = {
  'attn.q': 'queries, one per token',
  'attn.sr': 'spatial reduction before keys and values',
  'attn.pool': 'average pooling to 7 × 7 before keys and values',
  'attn.kv': 'keys and values of the reduced map',
  'attn.scores': 'query-key products',
  'attn.mix': 'weighted sum of the values',
  'attn.proj': 'output projection',
  'mlp.fc1': 'expansion',
  'mlp.dwconv': '3 × 3 depthwise convolution, which encodes positions',
  'mlp.fc2': 'projection back to the stage’s width',
  'patch_embed.proj': 'patch embedding',
};

function layerRow({ path, input, output, params, macs, activationBytes }: LayerCost, maxMacs: number) {
  const name = path.replace(/^stages\.\d+\./, '');
  const description = layerDescriptions[name.replace(/^blocks\.\d+\./, '')] ?? '';
  return h(
    'tr',
    {},
    h('th', { scope: 'row' }, h('code', { textContent: name }), h('small', { textContent: description })),
    h('td', { textContent: `${formatShape(input)} → ${formatShape(output)}` }),
    h('td', { textContent: params === 0 ? '' : formatCount(params) }),
    h(
      'td',
      { className: 'bar', attrs: { style: `--share: ${macs / maxMacs}` } },
      macs === 0 ? '' : formatCount(macs),
    ),
    h('td', { textContent: formatBytes(activationBytes) }),
  );
}

/** The layers of a stage, in a table that can be folded away. */
function stageLayers({ stage, params, macs, activationBytes }: StageCost, layers: readonly LayerCost[]) {
  const maxMacs = Math.max(...layers.map((layer) => layer.macs));
  const rows = layers.filter((layer) => layer.stage === stage).map((layer) => layerRow(layer, maxMacs));
  const columns = ['layer', 'shape', 'parameters', 'multiply-adds', 'output'];
  const total =
    `${formatCount(params)} parameters, ${formatCount(macs)} multiply-adds, ` +
    `${formatBytes(activationBytes)} of activations`;
  return h(
    'details',
    { attrs: { 'data-stage': String(stage) } },
    h(
      'summary',
      {},
      h('strong', { textContent: `Layers of stage ${stage + 1}` }),
      h('span', { textContent: total }),
    ),
    h('div', { className: 'scroll' }, table(columns, h('tbody', {}, ...rows))),
  );
}

const titleOf = (config: PvtConfig): string =>
  `PVT ${config.version}${config.version === 'v2' && config.linear ? ', linear' : ''}`;

/** Draws the stages side by side, and below them the cost of every layer. Tables that were open stay open. */
export function drawArchitecture(element: HTMLElement, architecture: Architecture): void {
  const { config, cost } = architecture;
  const details = cost.stages.map((stage) => stageLayers(stage, cost.layers));
  for (const open of element.querySelectorAll<HTMLDetailsElement>('details[open]')) {
    const match = details.find(({ dataset }) => dataset['stage'] === open.dataset['stage']);
    if (match) match.open = true;
  }
  const total =
    `${formatCount(cost.params)} parameters, ${formatCount(cost.macs)} multiply-adds, ` +
    `${formatBytes(cost.activationBytes)} of activations.`;
  setChildren(
    element,
    h('h2', { textContent: `${titleOf(config)} at ${formatShape(cost.size)} pixels` }),
    h('p', {
      textContent:
        `${total} Every token has a query (Q). Keys and values (K, V) come from a reduced map, and the ` +
        'reduction is strongest where there are most tokens. This keeps attention over fine maps affordable.',
    }),
    h(
      'div',
      { className: 'scroll', tabIndex: 0, attrs: { role: 'group', 'aria-label': 'Diagram of the stages' } },
      stageDiagram(architecture),
    ),
    ...details,
  );
}
