/** Compiles `assembly/` and writes it as a module that any platform can import: `pnpm --filter @pvt/adapter-wasm compile`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

/** A WebAssembly binary, in base64. It imports its memory and lays nothing into it by itself. */
async function compileModule(entry, ...options) {
  const baseDir = fileURLToPath(new URL('assembly/', import.meta.url));
  const files = new Map();
  const { error, stderr } = await main(
    [
      entry,
      '--outFile',
      'out.wasm',
      '--optimizeLevel',
      '3',
      '--enable',
      'simd',
      '--runtime',
      'stub',
      '--use',
      'abort=',
      '--importMemory',
      '--initialMemory',
      '1',
      '--baseDir',
      baseDir,
      ...options,
    ],
    { writeFile: (name, contents) => void files.set(name, contents) },
  );
  if (error)
    throw new Error(`compile: expected assembly/${entry} to compile, got\n${stderr}`, { cause: error });
  return Buffer.from(files.get('out.wasm')).toString('base64');
}

/** What `src/binary.ts` exports. */
export async function compile() {
  return {
    kernelsBinary: await compileModule('index.ts'),
    runnerBinary: await compileModule(
      'run.ts',
      '--enable',
      'threads',
      '--sharedMemory',
      '--maximumMemory',
      '65536',
    ),
    threadText: readFileSync(join(import.meta.dirname, 'src/serve.js'), 'utf8').replace(
      /^\/\*\*.*?\*\/\s*export /s,
      '',
    ),
  };
}

const comments = {
  kernelsBinary: "Kernels over tfjs's own heap.",
  runnerBinary: 'Plans over a shared memory.',
  threadText: 'What a worker runs.',
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const parts = Object.entries(await compile()).map(([name, text]) => {
    const lines =
      name === 'threadText'
        ? text
            .trimEnd()
            .split('\n')
            .map((line) => `${line}\n`)
        : text.match(/.{1,160}/g);
    return `/** ${comments[name]} */\nexport const ${name} =\n${lines.map((line) => `  ${JSON.stringify(line)}`).join(' +\n')};\n`;
  });
  writeFileSync(
    join(import.meta.dirname, 'src/binary.ts'),
    `/* Written by compile.mjs from assembly/ and src/serve.js; a test compares them. */\n\n${parts.join('\n')}`,
  );
}
