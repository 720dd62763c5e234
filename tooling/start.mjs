import { mkdirSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build, install, node, paint, requireNode, root, step } from './steps.mjs';

requireNode();
const sample = 'apps/cli/assets/sample.png';
const image = 'out/pyramid.png';

/** Shows a command as one would type it, and what it answers. */
function demonstrate(/** @type {string[]} */ ...args) {
  console.log(`\n${paint('bold', `pvt ${args.join(' ')}`)}`);
  const { status } = spawnSync(...node('apps/cli/dist/pvt.js', ...args), {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) process.exit(1);
}

const built = (await step(...install)) && (await step('build', ...build('@pvt/cli')));
if (!built) process.exit(1);
mkdirSync(join(root, 'out'), { recursive: true });
demonstrate('classify', sample);
demonstrate('features', sample, '--model', 'pvt_v2_nano', '--plot', image);
console.log(`
The four levels of the pyramid are drawn in ${paint('bold', join(root, image))}

Next: node apps/cli/dist/pvt.js --help
      node apps/cli/dist/pvt.js models
      npm run demo
      npm test`);
