import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import util from 'node:util';

export const root = fileURLToPath(new URL('..', import.meta.url));
const { packageManager, engines } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);
const live = process.stdout.isTTY && !process.env.CI;

/** @type {(format: 'green' | 'red' | 'yellow' | 'dim' | 'bold', text: string) => string} */
export const paint = (format, text) =>
  process.stdout.isTTY && !process.env.NO_COLOR ? util.styleText(format, text) : text;

/** Ends the program if this Node is older than package.json asks for. */
export function requireNode() {
  const wanted = engines.node.replace('>=', '');
  const newer = process.versions.node.localeCompare(wanted, 'en', { numeric: true }) >= 0;
  if (newer) return;
  console.error(
    `Node ${wanted} or newer is needed, this is ${process.versions.node}; ` +
      'install it from nodejs.org and run again.',
  );
  process.exit(1);
}

/**
 * The command line that runs the workspace's own version of pnpm, whatever this machine has.
 *
 * @param {...string} args
 * @returns {[string, string[]]}
 */
export const pnpm = (...args) => ['npx', ['--yes', packageManager, ...args]];

/**
 * The command line that runs a program of ours or of a package in this very Node.
 *
 * @param {...string} args
 * @returns {[string, string[]]}
 */
export const node = (...args) => [process.execPath, args];

/** @type {[string, ...ReturnType<typeof pnpm>]} */
export const install = ['install packages', ...pnpm('install', '--frozen-lockfile')];

/**
 * The command line that builds packages and what they need; all of them by default.
 *
 * @param {...string} packages
 */
export const build = (...packages) => node('tooling/build.mjs', ...packages);

/** @param {number} since */
export const duration = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Titles of the steps that are running, which a terminal shows in its last line. */
const running = new Set();
const showRunning = () => {
  if (live) process.stdout.write(running.size > 0 ? `\r\x1b[K… ${[...running].join(', ')}` : '\r\x1b[K');
};

/** Prints above the line of what is running. */
function print(/** @type {string} */ text) {
  if (live) process.stdout.write('\r\x1b[K');
  console.log(text);
  showRunning();
}

const unreachable =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH)\b|_NETWORK_ERROR|_FETCH_FAIL/;

/**
 * Runs one command as one line of progress, beside others if need be; its output is shown only if it fails.
 *
 * @param {string} title
 * @param {string} command
 * @param {string[]} args
 * @param {{ background?: boolean, summary?: () => string }} [options] `background` yields the processor to
 * other steps; `summary` is added to the line at the end
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function step(title, command, args, { background = false, summary = () => '' } = {}) {
  const since = performance.now();
  running.add(title);
  if (live) showRunning();
  else console.log(`… ${title}`);
  const child = spawn(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    // On Windows npx is a script, which only a shell can start.
    shell: process.platform === 'win32' && command === 'npx',
  });
  if (background && child.pid !== undefined) setPriority(child.pid, 10);
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  const succeeded = await new Promise((resolve) => {
    child.on('error', (error) => {
      output += `${error.message}\n`;
      resolve(false);
    });
    child.on('close', (code) => resolve(code === 0));
  });
  running.delete(title);
  const mark = succeeded ? paint('green', '✓') : paint('red', '✗');
  print([mark, title, paint('dim', duration(since)), summary()].filter(Boolean).join(' '));
  if (!succeeded && output) print(`\n${output.trimEnd()}\n`);
  if (!succeeded && unreachable.test(output))
    print('The package registry could not be reached: check the network or proxy settings, then run again.');
  return succeeded;
}
