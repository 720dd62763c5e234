import type { Cost, PvtConfig, StageCost } from '@pvt/core';
import type { Command } from 'commander';
import { sentence, UsageError } from '../errors.ts';
import { paintFor, print, printJson, type Io } from '../io.ts';
import { common, size, type CommonOptions } from '../options.ts';
import { by, bytes, compact, counted, exact, table } from '../text.ts';

interface SummaryOptions extends CommonOptions {
  readonly size?: readonly [height: number, width: number];
  readonly mermaid?: true;
}

export function summary(program: Command, io: Io): void {
  common(program.command('summary'), { computes: false })
    .summary('show the layers of a variant: shapes, parameters, multiply-adds')
    .description(
      'Shows the layers of a variant, stage by stage: output shapes, parameters, multiply-adds (MACs) and ' +
        'K/V tokens, for one image. Nothing is computed and no weights are needed.',
    )
    .argument('<model>', 'a variant, see pvt models')
    .option(
      '--size <HxW>',
      'height and width of the input in pixels (default: the size it was trained at)',
      size,
    )
    .option('--mermaid', 'a Mermaid flowchart of the stages instead of the table')
    .addHelpText(
      'after',
      `
Examples:
  pvt summary pvt_v2_b0
  pvt summary pvt_v2_b2_li --size 512x768
  pvt summary pvt_tiny --mermaid > pvt_tiny.mmd
  pvt summary pvt_v2_b0 --json`,
    )
    .action((model: string, options: SummaryOptions) => run(model, options, io));
}

async function run(model: string, options: SummaryOptions, io: Io): Promise<void> {
  if (options.json && options.mermaid)
    throw new UsageError('expected one output format, got --json and --mermaid; choose one.');
  const { cost, pvtConfig, ShapeError } = await import('@pvt/core');
  const { presetOf } = await import('../model.ts');
  const config: PvtConfig = pvtConfig(presetOf(model).config);
  let costs: Cost;
  try {
    costs = cost(config, options.size);
  } catch (error) {
    throw error instanceof ShapeError ? new UsageError(sentence(error), { cause: error }) : error;
  }
  if (options.json) printJson(io, costs);
  else if (options.mermaid) print(io, mermaid(model, config, costs));
  else printTable(model, config, costs, io);
}

/** How many tokens attend, and how many keys and values they attend to. */
const attention = ({ tokens, keyTokens }: StageCost): string =>
  `${counted(tokens, 'token')}, ${keyTokens} K/V`;

const blockOf = (path: string): number | undefined => {
  const [, block] = /\.blocks\.(\d+)\./.exec(path) ?? [];
  return block === undefined ? undefined : Number(block);
};

const stageName = (stage: number): string => `stage ${stage + 1}`;

/** A line of the table, and how a terminal shows it. */
interface Row {
  readonly style: 'bold' | 'dim' | 'reset';
  readonly cells: readonly string[];
}

function printTable(model: string, config: PvtConfig, costs: Cost, io: Io): void {
  const paint = paintFor(io.stdout);
  const kind = `PVT ${config.version}${'linear' in config && config.linear ? ' linear' : ''}`;
  print(io, `${paint.bold(model)}  ${kind}, input ${by([...costs.size, config.channels])}\n`);
  const rows = rowsOf(config, costs);
  for (const [index, line] of table(rows.map(({ cells }) => cells)).entries()) {
    const { style } = rows[index]!;
    print(io, style === 'reset' ? line : paint[style](line));
  }
  const largest = Math.max(...costs.stages.map(({ attentionMap }) => attentionMap.reduce((a, b) => a * b)));
  print(
    io,
    `
total   ${compact(costs.params)} parameters (${exact(costs.params)}), ${bytes(4 * costs.params)} in float32
        ${compact(costs.macs)} multiply-adds (${exact(costs.macs)})
        ${bytes(costs.activationBytes)} for the outputs of all layers in float32,
        ${bytes(4 * largest)} of it for the largest attention map`,
  );
}

/** Every stage with the layers of its first block, and the classifier. */
function rowsOf(config: PvtConfig, costs: Cost): Row[] {
  const rows: Row[] = [{ style: 'dim', cells: ['layer', 'output', 'params', 'MACs', 'K/V'] }];
  for (const stage of costs.stages) {
    const prefix = `stages.${stage.stage}.`;
    const depth = config.depths[stage.stage]!;
    const output = [...stage.grid, config.dims[stage.stage]!];
    const title = `${stageName(stage.stage)}, stride ${stage.stride}`;
    rows.push(rowOf('bold', title, output, stage, String(stage.keyTokens)));
    for (const layer of costs.layers.filter(({ path }) => path.startsWith(prefix))) {
      const block = blockOf(layer.path);
      // All blocks of a stage have the same layers; only the first is listed.
      if (block !== undefined && block > 0) continue;
      if (layer.path.endsWith('.blocks.0.norm1') && depth > 1)
        rows.push({ style: 'dim', cells: [`  blocks.0 to blocks.${depth - 1}, each`, '', '', '', ''] });
      const name = layer.path
        .slice(prefix.length)
        .replace(/^blocks\.0\./, depth > 1 ? '  blocks.*.' : 'blocks.0.');
      const keys = layer.path.endsWith('.attn.scores') ? String(layer.output[2]) : '';
      rows.push(rowOf('reset', `  ${name}`, layer.output, layer, keys));
    }
  }
  const head = costs.layers.find(({ path }) => path === 'head');
  return head ? [...rows, rowOf('bold', 'head', head.output, head)] : rows;
}

const rowOf = (
  style: Row['style'],
  name: string,
  output: readonly number[],
  { params, macs }: { readonly params: number; readonly macs: number },
  keys = '',
): Row => ({
  style,
  cells: [name, by(output), params ? compact(params) : '', macs ? compact(macs) : '', keys],
});

/** Mermaid's flowchart syntax; every label is quoted, so that nothing in it is read as syntax. */
function mermaid(model: string, config: PvtConfig, costs: Cost): string {
  const stages = costs.stages.map((stage, index) => {
    const name = `stage${index + 1}`;
    const lines = [
      `<b>${stageName(index)}</b>, stride ${stage.stride}`,
      by([...stage.grid, config.dims[index]!]),
      `${counted(config.depths[index]!, 'block')}, ${counted(config.heads[index]!, 'head')}`,
      attention(stage),
      `${compact(stage.params)} params`,
      `${compact(stage.macs)} MACs`,
    ];
    return { name, node: `  ${name}["${lines.join('<br/>')}"]` };
  });
  const { version, classes } = config;
  const pooling = 'classToken' in config && config.classToken ? 'the class token' : 'the mean over tokens';
  const chain = ['input', ...stages.map(({ name }) => name), 'embedding', ...(classes > 0 ? ['logits'] : [])];
  return [
    '---',
    `title: ${model}, PVT ${version}, ${compact(costs.params)} parameters, ` +
      `${compact(costs.macs)} multiply-adds`,
    '---',
    'flowchart TD',
    `  input(["image<br/>${by([...costs.size, config.channels])}"])`,
    ...stages.map(({ node }) => node),
    `  embedding(["embedding, ${pooling}<br/>${config.dims.at(-1)}"])`,
    ...(classes > 0 ? [`  logits(["logits<br/>${classes}"])`] : []),
    `  ${chain.join(' --> ')}`,
    `  subgraph pyramid["feature pyramid"]`,
    ...stages.map(({ name }) => `    ${name}`),
    '  end',
  ].join('\n');
}
