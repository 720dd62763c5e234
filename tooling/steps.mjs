import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
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

/** Ends the program with one sentence where this Node is older than package.json asks for. */
export function requireNode() {
  const wanted = engines.node.replace('>=', '');
  const newer = process.versions.node.localeCompare(wanted, 'en', { numeric: true }) >= 0;
  if (newer) return;
  console.error(
    `Node ${wanted} or newer is needed, this is ${process.versions.node}; install it from nodejs.org and run again.`,
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

/** @param {...string} tasks */
export const turbo = (...tasks) => pnpm('exec', 'turbo', 'run', ...tasks, '--output-logs=errors-only');

/** @param {number} since */
export const duration = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/**
 * Runs one command as one line of progress; its output is shown only where it fails, or all along with `show`.
 *
 * @param {string} title
 * @param {string} command
 * @param {string[]} args
 * @param {{ show?: boolean }} [options]
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function step(title, command, args, { show = false } = {}) {
  const since = performance.now();
  process.stdout.write(show ? `\n${paint('bold', title)}\n` : live ? `… ${title}` : `… ${title}\n`);
  const child = spawn(command, args, {
    cwd: root,
    env: { TURBO_TELEMETRY_DISABLED: '1', ...process.env },
    stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
    // On Windows npx is a script, which only a shell can start.
    shell: process.platform === 'win32' && command === 'npx',
  });
  let output = '';
  child.stdout?.on('data', (chunk) => (output += chunk));
  child.stderr?.on('data', (chunk) => (output += chunk));
  const succeeded = await new Promise((resolve) => {
    child.on('error', (error) => {
      output += `${error.message}\n`;
      resolve(false);
    });
    child.on('close', (code) => resolve(code === 0));
  });
  if (!show && live) process.stdout.write('\r\x1b[K');
  console.log(
    `${succeeded ? paint('green', '✓') : paint('red', '✗')} ${title} ${paint('dim', duration(since))}`,
  );
  if (!succeeded && output) console.log(`\n${output.trimEnd()}\n`);
  if (
    !succeeded &&
    /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH)\b|_NETWORK_ERROR|_FETCH_FAIL/.test(
      output,
    )
  ) {
    console.log(
      'The package registry could not be reached: check the network or proxy settings, then run again.',
    );
  }
  return succeeded;
}
