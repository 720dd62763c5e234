/**
 * Type-checks every package under its own tsconfig.json, on the sources of the packages that it imports. One
 * process parses each file once for all of them: `node tooling/typecheck.mjs [folder ...]`.
 */
import { existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { root } from './steps.mjs';
import { folders, sourceEntries } from './workspace.mjs';

const paths = Object.fromEntries(Object.entries(sourceEntries()).map(([name, file]) => [name, [file]]));
const parsed = new Map();

/** A compiler host that shares parsed files: no option of ours changes how a file is parsed. */
function hostFor(/** @type {ts.CompilerOptions} */ options) {
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (path, ...rest) => {
    if (!parsed.has(path)) parsed.set(path, getSourceFile(path, ...rest));
    return parsed.get(path);
  };
  return host;
}

/** @returns {ts.Diagnostic[]} */
function check(/** @type {string} */ folder) {
  const file = join(folder, 'tsconfig.json');
  const config = ts.readConfigFile(file, ts.sys.readFile);
  const { options, fileNames, errors } = ts.parseJsonConfigFileContent(config.config, ts.sys, folder);
  const all = { ...options, paths };
  const program = ts.createProgram(fileNames, all, hostFor(all));
  return [
    ...errors,
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    // The other packages' files are checked under their own options.
    ...fileNames.flatMap((name) => {
      const source = program.getSourceFile(name);
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    }),
  ];
}

const asked = process.argv.slice(2).map((folder) => resolve(folder));
const checked = (asked.length > 0 ? asked : [root, ...folders]).filter((folder) =>
  existsSync(join(folder, 'tsconfig.json')),
);
const found = checked.flatMap(check);
const format = { getCurrentDirectory: () => root, getNewLine: () => '\n', getCanonicalFileName: String };
if (found.length > 0) {
  console.error(ts.formatDiagnosticsWithColorAndContext(found, format));
  console.error(
    `${found.length} errors in ${checked.map((folder) => relative(root, folder) || '.').join(', ')}`,
  );
  process.exit(1);
}
