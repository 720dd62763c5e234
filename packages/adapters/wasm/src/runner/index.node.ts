import { nodePlatform } from './platform.node.ts';
import { createRunnerOn, type Runner, type RunnerOptions } from './runner.ts';

export { weightFormats } from './packer.ts';
export type { Runner, RunnerOptions, WeightFormat } from './index.ts';

/** `createRunner` of ./index.ts, on worker threads of Node. */
export const createRunner = <I, O>(
  forward: (input: I) => O,
  options: RunnerOptions = {},
): Promise<Runner<I, O>> => createRunnerOn(nodePlatform, forward, options);
