import type { CacheEntry } from '@pvt/presets';
import type { Command } from 'commander';
import { refusal, UsageError, WorkError } from '../errors.ts';
import { paintFor, print, printJson, type Io } from '../io.ts';
import { common, type CommonOptions } from '../options.ts';
import { bytes, counted, table } from '../text.ts';

export function cache(program: Command, io: Io): void {
  const group = program
    .command('cache')
    .summary('list or remove downloaded checkpoints')
    .description(
      'Lists or removes what has been downloaded, in the folder PVT_CACHE, else where the platform has ' +
        'its caches.',
    )
    .helpOption('-h, --help', 'explain this command')
    .addHelpText(
      'after',
      `
Examples:
  pvt cache
  pvt cache list b0 --json
  pvt cache clear timm/pvt_v2_b5.in1k
  pvt cache clear`,
    );

  const pattern = ['[pattern]', 'a part of their addresses; * matches any characters, ? one'] as const;
  common(group.command('list', { isDefault: true }), { computes: false })
    .description('Lists downloads, the largest first.')
    .argument(...pattern)
    .addHelpText('after', '\nExamples:\n  pvt cache list\n  pvt cache list timm/*b2')
    .action((part: string | undefined, options: CommonOptions) => run('list', part, options, io));
  common(group.command('clear'), { computes: false })
    .description('Removes downloads: those that match, or all of them.')
    .argument(...pattern)
    .addHelpText('after', '\nExamples:\n  pvt cache clear\n  pvt cache clear timm/pvt_v2_b5.in1k')
    .action((part: string | undefined, options: CommonOptions) => run('clear', part, options, io));
}

/** Lists or removes the downloads that match, and shows them. */
async function run(
  what: 'list' | 'clear',
  part: string | undefined,
  { json }: CommonOptions,
  io: Io,
): Promise<void> {
  // An empty variable of a shell must not clear everything.
  if (part === '')
    throw new UsageError(
      `cache ${what}: expected a part of an address, got an empty one; leave it out to ${what} everything.`,
    );
  const { clearCache, listCache } = await import('@pvt/presets');
  const { defaultCacheFolder } = await import('@pvt/presets/node');
  const folder = defaultCacheFolder();
  let found: CacheEntry[];
  try {
    found = await { list: listCache, clear: clearCache }[what](part && `*${part}*`);
  } catch (error) {
    throw new WorkError(
      `expected the cache in ${folder}, got ${refusal(error)}; check PVT_CACHE and its permissions.`,
      { cause: error },
    );
  }
  const entries = found.sort((a, b) => b.size - a.size);
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  if (json) return printJson(io, { folder, bytes: total, [what === 'list' ? 'files' : 'removed']: entries });
  const sum = entries.length > 0 ? `, ${bytes(total)}` : '';
  const verb = what === 'clear' ? 'removed ' : '';
  print(io, paintFor(io.stdout).dim(`${folder}: ${verb}${counted(entries.length, 'file')}${sum}`));
  const columns = entries.map(({ size, modified }) => [bytes(size), modified.toISOString().slice(0, 10)]);
  const lines = table(columns, 0).map((line, row) => {
    const { url, complete } = entries[row]!;
    return `${line}  ${url}${complete ? '' : '  (incomplete)'}`;
  });
  if (lines.length > 0) print(io, `\n${lines.join('\n')}`);
}
