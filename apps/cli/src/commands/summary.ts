import type { Cost, LayerCost, PvtConfig, StageCost } from '@pvt/core';
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
  const command = common(program.command('summary'), { computes: false })
    .summary('show the layers of a variant: shapes, parameters, multiply-adds')
    .description(
      'Shows the layers of a variant, stage by stage: output shapes, parameters, multiply-adds (MACs) and K/V tokens, for one image. Nothing is computed, no weights are needed.',
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
      '\nExamples:\n  pvt summary pvt_v2_b0\n  pvt summary pvt_v2_b2_li --size 512x768\n  pvt summary pvt_tiny --mermaid > pvt_tiny.mmd\n  pvt summary pvt_v2_b0 --json',
    );
  command.action(async (model: string, options: SummaryOptions) => {
    if (options.json && options.mermaid)
      throw new UsageError('expected one form of answer, got --json and --mermaid; choose one.');
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
  });
}

/** The tokens that attend and those that they attend to. */
const attention = ({ tokens, keyTokens }: StageCost): string =>
  `${counted(tokens, 'token')}, ${keyTokens} K/V`;

const blockOf = (path: string): number | undefined => {
  const [, block] = /\.blocks\.(\d+)\./.exec(path) ?? [];
  return block === undefined ? undefined : Number(block);
};

const stageName = (stage: number): string => `stage ${stage + 1}`;

function printTable(model: string, config: PvtConfig, costs: Cost, io: Io): void {
  const paint = paintFor(io.stdout);
  const keyTokens = (layer: LayerCost) =>
    layer.path.endsWith('.attn.scores') ? String(layer.output[2]) : '';
  const rows: [style: (text: string) => string, row: string[]][] = [
    [paint.dim, ['layer', 'output', 'params', 'MACs', 'K/V']],
  ];
  const add = (
    style: (text: string) => string,
    name: string,
    output: readonly number[] | undefined,
    { params, macs }: { params: number; macs: number },
    keys = '',
  ) =>
    rows.push([
      style,
      [name, output ? by(output) : '', params ? compact(params) : '', macs ? compact(macs) : '', keys],
    ]);
  const plain = (text: string) => text;

  for (const stage of costs.stages) {
    const prefix = `stages.${stage.stage}.`;
    const layers = costs.layers.filter(({ path }) => path.startsWith(prefix));
    const depth = config.depths[stage.stage]!;
    add(
      paint.bold,
      `${stageName(stage.stage)}, stride ${stage.stride}`,
      [...stage.grid, config.dims[stage.stage]!],
      stage,
      String(stage.keyTokens),
    );
    for (const layer of layers) {
      const block = blockOf(layer.path);
      // The blocks of a stage are equal; the first one stands for all.
      if (block !== undefined && block > 0) continue;
      if (layer.path.endsWith('.blocks.0.norm1') && depth > 1)
        rows.push([paint.dim, [`  blocks.0 to blocks.${depth - 1}, each`, '', '', '', '']]);
      const name = layer.path
        .slice(prefix.length)
        .replace(/^blocks\.0\./, depth > 1 ? '  blocks.*.' : 'blocks.0.');
      add(plain, `  ${name}`, layer.output, layer, keyTokens(layer));
    }
  }
  const head = costs.layers.find(({ path }) => path === 'head');
  if (head) add(paint.bold, 'head', head.output, head);

  const { version } = config;
  print(
    io,
    `${paint.bold(model)}  PVT ${version}${'linear' in config && config.linear ? ' linear' : ''}, input ${by([...costs.size, config.channels])}\n`,
  );
  const lines = table(rows.map(([, row]) => row));
  for (const [index, line] of lines.entries()) print(io, rows[index]![0](line));
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
  const token = 'classToken' in config && config.classToken;
  const chain = ['input', ...stages.map(({ name }) => name), 'embedding', ...(classes > 0 ? ['logits'] : [])];
  return [
    '---',
    `title: ${model}, PVT ${version}, ${compact(costs.params)} parameters, ${compact(costs.macs)} multiply-adds`,
    '---',
    'flowchart TD',
    `  input(["image<br/>${by([...costs.size, config.channels])}"])`,
    ...stages.map(({ node }) => node),
    `  embedding(["embedding, ${token ? 'the class token' : 'the mean over tokens'}<br/>${config.dims.at(-1)}"])`,
    ...(classes > 0 ? [`  logits(["logits<br/>${classes}"])`] : []),
    `  ${chain.join(' --> ')}`,
    `  subgraph pyramid["feature pyramid"]`,
    ...stages.map(({ name }) => `    ${name}`),
    '  end',
  ].join('\n');
}
