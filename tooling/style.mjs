/**
 * Fails on lines over 110 characters and on names that contain a retired word: `node tooling/style.mjs`.
 * Lines are checked in every tracked text file that .prettierignore does not list; names are those that *.ts
 * and *.mjs declare.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { getFileInfo } from 'prettier';
import ts from 'typescript';
import { root } from './steps.mjs';

export const width = 110;

/** Words of our own, each with what the field says. */
const retired = new Map([
  ['recipe', 'preprocessing'],
  ['room', 'allocator, scratch, budget or out'],
  ['take', 'allocate'],
  ['give', 'free'],
  ['told', 'header or HeaderMetadata'],
  ['truth', 'labelledImage or target'],
  ['slope', 'gradient'],
  ['guess', 'prediction'],
  ['suppress', 'nonMaxSuppression'],
  ['overlap', 'iou or iouThreshold'],
  ['keep', 'retain, or maxDetections'],
  ['kept', 'retained'],
  ['consume', 'inputs'],
  ['together', 'toBatch'],
  ['place', 'normalizeAndPad or placement'],
  ['upTo', 'roundUpToMultiple'],
  ['inside', 'contentSize'],
  ['fit', 'contentSize, or what it is'],
  ['cover', 'what it is'],
  ['follow', 'updateRunningStats'],
  ['byOwnStatistics', 'normalizeByBatch'],
  ['meet', 'barrier'],
  ['look', 'spinCount'],
  ['breathe', 'yieldToEventLoop'],
  ['spoiled', 'nonFinite'],
  ['dear', 'expensive'],
  ['quick', 'fused'],
  ['ready', 'prepared'],
  ['readies', 'prepares'],
]);

/** Names that may contain such a word. */
export const allowed = new Map([
  ['keepDims', "an attribute of tfjs's reductions"],
  ['keepAlive', 'whether a thread keeps the process alive, as in HTTP'],
  ['nms_keep', 'a field of reference numbers'],
  ['batched_nms_keep', 'a field of reference numbers'],
  ['roundUpToMultiple', 'the name that replaces `upTo`'],
  ['inPlace', 'of an operation that writes over its input, as everybody says'],
  ['quick', 'the command `npm run test:quick`'],
]);

/** @param {string} name */
const wordsOf = (name) => name.split(/(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_$.\-\d]+/);

/** The retired words, each as the words that it consists of. */
const phrases = Array.from(
  retired,
  ([word, instead]) => /** @type {const} */ ([word, instead, wordsOf(word).join(' ').toLowerCase()]),
);

/**
 * The retired word in a name, and what to say instead.
 *
 * @param {string} name
 */
export function retiredWord(name) {
  if (allowed.has(name)) return undefined;
  const sentence = wordsOf(name).join(' ').toLowerCase();
  return phrases.find(([, , phrase]) => new RegExp(`\\b${phrase}(s|es|d|ed|ing)?\\b`).test(sentence));
}

/** @typedef {{ line: number, problem: string }} Finding */

/**
 * @param {string} text
 * @returns {Finding[]}
 */
export const longLines = (text) =>
  text
    .split('\n')
    .map((line, i) => ({ line: i + 1, length: [...line.replace(/\r$/, '')].length }))
    .filter(({ length }) => length > width)
    .map(({ line, length }) => ({ line, problem: `${length} characters, ${width} at most` }));

/** Whether a node with a name gives that name, rather than using one that stands elsewhere. */
const declares = (/** @type {ts.Node} */ node) =>
  !ts.isPropertyAccessExpression(node) && !(ts.isImportSpecifier(node) && !node.propertyName);

/**
 * Retired words in the names that a source declares.
 *
 * @param {string} path
 * @param {string} text
 * @returns {Finding[]}
 */
export function retiredNames(path, text) {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  /** @type {Finding[]} */
  const found = [];
  /** @param {ts.Node} node */
  const visit = (node) => {
    const { name } = /** @type {ts.NamedDeclaration} */ (node);
    if (name && declares(node) && (ts.isIdentifier(name) || ts.isStringLiteral(name))) {
      const [word, instead] = retiredWord(name.text) ?? [];
      const line = source.getLineAndCharacterOfPosition(name.getStart()).line + 1;
      if (word) found.push({ line, problem: `"${name.text}" contains "${word}"; say ${instead}` });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

async function main() {
  const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0');
  let count = 0;
  for (const path of tracked.filter(Boolean)) {
    const { ignored } = await getFileInfo(join(root, path), {
      ignorePath: join(root, '.prettierignore'),
    });
    if (ignored) continue;
    const text = readFileSync(join(root, path), 'utf8');
    if (text.includes('\0')) continue;
    const found = longLines(text);
    if (/\.m?ts$|\.mjs$/.test(path)) {
      const [word, instead] = retiredWord(basename(path).replace(/\..*/, '')) ?? [];
      if (word) found.push({ line: 1, problem: `the file's name contains "${word}"; say ${instead}` });
      found.push(...retiredNames(path, text));
    }
    for (const { line, problem } of found) console.error(`${path}:${line}: ${problem}`);
    count += found.length;
  }
  if (count > 0) console.error(`\nstyle: expected no finding, got ${count}.`);
  process.exitCode = count > 0 ? 1 : 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
