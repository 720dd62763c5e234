import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { BackendError } from '@pvt/core';
import type { CreateRunner } from '@pvt/tasks';
import * as tf from '@tensorflow/tfjs-core';
import { sentence } from './errors.ts';
import { note, type Io } from './io.ts';

export type Backend = 'wasm' | 'cpu';

const register: Record<Backend, () => Promise<unknown>> = {
  cpu: () => import('@tensorflow/tfjs-backend-cpu'),
  async wasm() {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    const manifest = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
    setWasmPaths(join(dirname(manifest), 'dist/'));
  },
};

/**
 * Makes a backend the current one; wasm gets our own kernels.
 *
 * @throws BackendError if it does not start
 */
export async function startBackend(name: Backend, io: Io): Promise<void> {
  // Without it the cpu backend advertises a native one on every start.
  tf.enableProdMode();
  // Registering again would throw away a backend that runs.
  if (!tf.engine().registryFactory[name]) await register[name]();
  if (!(await tf.setBackend(name))) {
    throw new BackendError(
      'backend-failed',
      `--backend: expected ${name} to start on this machine, got a failure; ` +
        `use --backend ${name === 'wasm' ? 'cpu' : 'wasm'}.`,
    );
  }
  if (name === 'wasm') {
    const { registerWasmKernels } = await import('@pvt/adapter-wasm');
    await registerWasmKernels().catch((error: unknown) => {
      if (!(error instanceof BackendError)) throw error;
      note(io, `the fast kernels are not available here, continuing without them (${sentence(error)})`);
    });
  }
}

/** The `runner` option of a task for so many threads: none for one thread, which is tfjs's own. */
export async function runnerFor(threads: number): Promise<{ readonly runner?: CreateRunner }> {
  if (threads === 1) return {};
  const { createRunner } = await import('@pvt/adapter-wasm/runner');
  return { runner: (forward) => createRunner(forward, { threads }) };
}
