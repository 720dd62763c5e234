import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { build, install, requireNode, root, step } from './steps.mjs';

requireNode();
const built = (await step(...install)) && (await step('build', ...build('@pvt/web')));
if (!built) process.exit(1);
const folder = join(root, 'apps/web');
const server = spawn(
  process.execPath,
  [join(folder, 'node_modules/vite/bin/vite.js'), 'preview', ...process.argv.slice(2)],
  { cwd: folder, stdio: 'inherit' },
);
server.on('close', (code) => process.exit(code ?? 0));
