import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findChromium } from './chromium.mjs';
import { duration, install, node, paint, requireNode, root, step, turbo } from './steps.mjs';

requireNode();
const since = performance.now();
const reports = join(root, 'reports');
const total = { passed: 0, failed: 0, skipped: 0 };

/**
 * A step that is no test counts only where it fails.
 *
 * @param {Parameters<typeof step>} command
 */
async function check(...command) {
  const succeeded = await step(...command);
  if (!succeeded) total.failed++;
  return succeeded;
}

/**
 * Runs one vitest project and counts what its report says.
 *
 * @param {string} title
 * @param {string} project
 */
async function suite(title, project) {
  const report = join(reports, `${project}.json`);
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--project', project, '--passWithNoTests'];
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const succeeded = await step(title, ...node(...vitest, ...reporters), { show: true });
  const { passed, failed, skipped } = count(report);
  total.passed += passed;
  total.skipped += skipped;
  // A file that does not load, or an error outside any test, fails the run without a failed test.
  total.failed += succeeded ? failed : Math.max(failed, 1);
}

/** @param {string} report */
function count(report) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
      readFileSync(report, 'utf8'),
    );
    return { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests };
  } catch (error) {
    console.log(`No report from the test runner: ${error instanceof Error ? error.message : error}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

function browserTestFiles() {
  return ['packages', 'apps', 'tooling'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter(
      (path) =>
        (path.endsWith('.browser.test.ts') || /^web.e2e.*\.test\.ts$/.test(path)) &&
        !path.includes('node_modules'),
    ),
  );
}

async function browserSuites() {
  if (findChromium()) {
    await suite('tests in Chromium', 'browser');
    await suite('threads in a cross-origin isolated page', 'isolated');
    return suite('the demo page in Chromium', 'demo');
  }
  const files = browserTestFiles().length;
  const verdict = process.env.CI === 'true' ? 'failed' : 'skipped';
  total[verdict] += verdict === 'failed' ? Math.max(files, 1) : files;
  console.log(`\n${paint('yellow', `tests in Chromium: ${files} files ${verdict}, no Chromium found`)}`);
  console.log(
    'Install it with "apt-get install -y chromium" on Debian, or name one with CHROMIUM_PATH=/path/to/chromium.',
  );
}

rmSync(reports, { recursive: true, force: true });
mkdirSync(reports);
if (await check(...install)) {
  await check('build and type-check', ...turbo('build', 'typecheck', '--continue'));
  await check('type-check the workspace itself', ...node('node_modules/typescript/bin/tsc', '-p', '.'));
  await check('lint', ...node('node_modules/oxlint/bin/oxlint'));
  await suite('tests in Node', 'node');
  await browserSuites();
  await suite('packaging', 'packaging');
}
console.log(
  `\n${total.failed ? paint('red', '✗') : paint('green', '✓')} ${paint('dim', `all of it took ${duration(since)}`)}`,
);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
