/** Compiles `assembly/` and writes it as a module that any platform can import: `pnpm --filter @pvt/adapter-wasm compile`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

/** The WebAssembly binary of `assembly/`. It imports its memory and lays nothing into it by itself. */
export async function compile() {
  const baseDir = fileURLToPath(new URL('assembly/', import.meta.url));
  const files = new Map();
  const { error, stderr } = await main(
    ['index.ts', '--outFile', 'kernels.wasm', '--optimizeLevel', '3', '--enable', 'simd', '--runtime', 'stub', '--use', 'abort=', '--importMemory', '--initialMemory', '1', '--baseDir', baseDir],
    { writeFile: (name, contents) => void files.set(name, contents) },
  );
  if (error) throw new Error(`compile: expected assembly/ to compile, got\n${stderr}`, { cause: error });
  return files.get('kernels.wasm');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const binary = await compile();
  const target = join(import.meta.dirname, 'src/binary.ts');
  const lines = Buffer.from(binary).toString('base64').match(/.{1,160}/g);
  writeFileSync(target, `/** Written by compile.mjs from assembly/; a test compares the two. */\nexport const binary =\n${lines.map((line) => `  '${line}'`).join(' +\n')};\n`);
  process.stdout.write(`${binary.length} bytes\n`);
}
