/**
 * Everything that a change must pass: `npm test`. Browser tests keep one core busy, since Chromium draws in
 * software on a single thread; the tests in Node take what is left.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findChromium } from './chromium.mjs';
import { build, duration, install, node, paint, requireNode, root, step } from './steps.mjs';

requireNode();
const since = performance.now();
const reports = join(root, 'reports');
const total = { passed: 0, failed: 0, skipped: 0 };

/**
 * A step that is not a test counts only if it fails.
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
 * @param {{ background?: boolean }} [options]
 */
async function suite(title, project, options) {
  const report = join(reports, `${project}.json`);
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--project', project, '--passWithNoTests'];
  const reporters = ['--reporter=minimal', '--reporter=json', `--outputFile.json=${report}`];
  const succeeded = await step(title, ...node(...vitest, ...reporters), {
    ...options,
    summary: () => render(count(report)),
  });
  const { passed, failed, skipped } = count(report);
  total.passed += passed;
  total.skipped += skipped;
  // A file that does not load, or an error outside of a test, fails the run without a failed test.
  total.failed += succeeded ? failed : Math.max(failed, 1);
}

/** A run that ends without a report has failed. */
function count(/** @type {string} */ report) {
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  return { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests };
}

const render = ({ passed = 0, failed = 0, skipped = 0 }) =>
  `${passed} passed, ${failed} failed, ${skipped} skipped`;

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
  console.log(paint('yellow', `tests in Chromium: ${files} files ${verdict}, no Chromium found`));
  console.log(
    'Install it with "apt-get install -y chromium" on Debian, or set CHROMIUM_PATH=/path/to/chromium.',
  );
}

async function checks() {
  const prettier = ['node_modules/prettier/bin/prettier.cjs', '--check', '--cache', '--log-level=warn', '.'];
  await check('format', ...node(...prettier));
  await check('lint', ...node('node_modules/oxlint/bin/oxlint'));
  await check('lines and names', ...node('tooling/style.mjs'));
  await check('type-check', ...node('tooling/typecheck.mjs'));
}

rmSync(reports, { recursive: true, force: true });
mkdirSync(reports);
if (await check(...install)) {
  const built = check('build', ...build());
  await Promise.all([
    built.then(browserSuites).then(() => suite('packaging', 'packaging')),
    Promise.all([built, checks()]).then(() => suite('tests in Node', 'node', { background: true })),
  ]);
}
const mark = total.failed ? paint('red', '✗') : paint('green', '✓');
console.log(`\n${mark} ${paint('dim', `all of it took ${duration(since)}`)}`);
console.log(render(total));
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
