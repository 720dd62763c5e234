import { createRunner } from '@pvt/adapter-wasm/runner';
import { headGoldens, headSuite } from './headSuite.ts';
import { goldens, goldenSuite, type Run } from './suite.ts';

// The same reference numbers, computed on threads outside of tfjs.
const onThreads: Run = async (forward, input) => {
  const runner = await createRunner(forward, { threads: 2 });
  try {
    return await runner.run(input);
  } finally {
    runner.dispose();
  }
};

goldenSuite('wasm', goldens(), undefined, onThreads);
headSuite('wasm', headGoldens(), 1e-6, onThreads);
