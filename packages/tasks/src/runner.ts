import type * as tf from '@tensorflow/tfjs-core';

/** Runs one forward pass after another, wherever it does so. */
export interface Runner<Input, Output> {
  /** The input is borrowed, the output is the caller's. */
  run(input: Input): Promise<Output>;
  dispose(): void;
}

/** Starts a runner for a forward pass, as `createRunner` of `@pvt/adapter-wasm/runner` does. */
export type CreateRunner = <Input, Output>(
  forward: (input: Input) => Output,
) => Promise<Runner<Input, Output>>;

const onBackend: CreateRunner = async (forward) => ({
  run: async (input) => forward(input),
  dispose() {},
});

/**
 * A runner for a model, on the current backend unless `createRunner` starts another. Disposing of it disposes
 * of the model, and a runner that cannot start disposes of it too.
 */
export async function startRunner<Output>(
  model: { forward(input: tf.Tensor4D): Output; dispose(): void },
  createRunner: CreateRunner = onBackend,
): Promise<Runner<tf.Tensor4D, Output>> {
  try {
    const runner = await createRunner((input: tf.Tensor4D) => model.forward(input));
    return {
      run: (input) => runner.run(input),
      dispose() {
        runner.dispose();
        model.dispose();
      },
    };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** Runs an input and frees it, also if the run fails. */
export async function runAndFree<Output>(
  runner: Runner<tf.Tensor4D, Output>,
  input: tf.Tensor4D,
): Promise<Output> {
  try {
    return await runner.run(input);
  } finally {
    input.dispose();
  }
}
