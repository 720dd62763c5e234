import { browserPlatform } from './platform.browser.ts';
import { createRunnerOn, type Runner, type RunnerOptions } from './runner.ts';

export type { WeightFormat } from '../generated/calls.ts';
export { weightFormats } from './packer.ts';
export type { Runner, RunnerOptions } from './runner.ts';

/**
 * Runs a forward on threads of its own, on kernels of its own: workers that share one memory (worker_threads
 * in Node; in a page only if it is cross-origin isolated) execute it beside the caller, so that a page stays
 * responsive. If memory cannot be shared, one worker does all of it; `limitation` says so.
 *
 * The forward is recorded once for inputs of each shape (`record` of `@pvt/graph`). Weights are copied then:
 * a model that is trained further needs a new runner. It may be made of the layers and heads of `@pvt` and a
 * few ops of tfjs, and must not read values of tensors.
 *
 * @param forward from a tensor, or tensors in a structure of arrays and objects, to others
 * @throws ConfigError for invalid options; BackendError for an engine without SIMD; from `run` and `warmup`,
 * BackendError for an operation that runners do not support or for a lack of memory
 * @example
 * const forward = (input: tf.Tensor4D) => head.forward(backbone.forward(input).embedding);
 * const runner = await createRunner(forward, { threads: 2 });
 * const logits = await runner.run(input);
 * runner.dispose();
 */
export const createRunner = <I, O>(
  forward: (input: I) => O,
  options: RunnerOptions = {},
): Promise<Runner<I, O>> => createRunnerOn(browserPlatform, forward, options);
