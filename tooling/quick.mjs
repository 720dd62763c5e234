/**
 * The tests of the inner loop, in Node, on the sources: `npm run test:quick`, or all those below a folder
 * with `npm run test:quick packages/core`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { build, node, root } from './steps.mjs';
import { folders, manifestOf } from './workspace.mjs';

/** What takes most of the time of all tests, or needs a build. */
const slow = [
  'tooling/golden/{golden,heads,kernels,losses,runner,trajectories}*.test.ts',
  'apps/cli/src/commands/train.test.ts',
  'packages/adapters/wasm/src/**/runner.test.ts',
  'packages/data/src/node.test.ts',
  'packages/presets/src/sources/download.test.ts',
  'packages/training/src/train.test.ts',
];

/** Runs a program in this terminal, and ends with its exit status if it fails. */
function run(/** @type {[string, string[]]} */ [command, args]) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'node', '--reporter=default'];
const [asked] = process.argv.slice(2);
if (asked === undefined) {
  // Projects have their own `exclude`, which --exclude does not reach: vitest.config.ts reads this.
  process.env['PVT_TEST_EXCLUDE'] = slow.join(':');
  run(node(...vitest));
  console.log(
    `Left out: browsers, packaging, types, style (npm test), and these, each with a folder as argument:`,
  );
  for (const pattern of slow) console.log(`  ${pattern}`);
} else {
  const folder = resolve(asked);
  if (!existsSync(folder)) {
    console.error(`quick: expected a folder of this repository, got ${asked}, which does not exist.`);
    process.exit(2);
  }
  // Some tests start worker threads from the built package.
  const owners = folders.filter((owner) => `${folder}/`.startsWith(`${owner}/`));
  const names = owners.map(manifestOf).flatMap(({ name, scripts }) => (scripts?.build ? [name] : []));
  if (names.length > 0) run(build(...names));
  const filter = relative(root, folder);
  run(node(...vitest, statSync(folder).isDirectory() ? join(filter, '/') : filter));
}
