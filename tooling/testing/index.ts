import * as tf from '@tensorflow/tfjs-core';
import { expect, inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    /** Folder or URL of the wasm backend's binaries; vitest.config.ts knows it for each project. */
    wasmPath: string;
  }
}

const load = {
  cpu: () => import('@tensorflow/tfjs-backend-cpu'),
  wasm: async () => {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    setWasmPaths(inject('wasmPath'));
  },
  webgl: () => import('@tensorflow/tfjs-backend-webgl'),
  webgpu: () => import('@tensorflow/tfjs-backend-webgpu'),
};

export type BackendName = keyof typeof load;

/**
 * Makes `name` the current tfjs backend, or throws; cpu and wasm run everywhere, webgl and webgpu in the
 * browser.
 *
 * @example
 * beforeAll(() => useBackend('wasm'));
 */
export async function useBackend(name: BackendName): Promise<void> {
  await load[name]();
  const started = await tf.setBackend(name);
  if (!started)
    throw new Error(`useBackend: expected ${name} to start, got ${tf.getBackend()}; does it exist here?`);
}

/**
 * Registers the gradients of tfjs's own ops, which neither tfjs-core nor a backend does by itself.
 *
 * @example
 * beforeAll(useGradients);
 */
export async function useGradients(): Promise<void> {
  await import('@pvt/training');
}

/**
 * Asserts that no element differs from its reference by more than `tolerance`, and returns the largest
 * difference.
 *
 * @example
 * await expectClose(tf.exp(tf.tensor1d([0, 1])), [1, Math.E], 1e-6);
 */
export async function expectClose(
  actual: tf.Tensor | ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): Promise<number> {
  const values = actual instanceof tf.Tensor ? await actual.data() : actual;
  expect(values.length, 'number of elements').toBe(expected.length);
  let largest = 0;
  let index = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(values[i]! - expected[i]!);
    if (difference <= largest) continue;
    index = i;
    largest = difference;
    if (Number.isNaN(difference)) break;
  }
  const position = `element ${index} is ${values[index]}, reference ${expected[index]}`;
  expect(largest <= tolerance, `largest difference ${largest}, tolerance ${tolerance}: ${position}`).toBe(
    true,
  );
  return largest;
}

/**
 * Asserts that `work` leaves as many tensors behind as it found; it disposes of its own outputs.
 *
 * @example
 * await expectNoLeak(() => model.forward(input).embedding.dispose());
 */
export async function expectNoLeak(work: () => unknown): Promise<void> {
  const before = tf.memory().numTensors;
  await work();
  expect(tf.memory().numTensors - before, 'tensors left behind').toBe(0);
}

/**
 * Asserts that the gradient of sum(f(inputs)·weights) with respect to every input agrees with central
 * differences along random directions. In float32 these are accurate to about 1e-3 of the gradient.
 *
 * @example
 * await expectGradient((x) => tf.square(x), [tf.tensor1d([1, 2])]);
 */
export async function expectGradient(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  step = 1e-2,
): Promise<void> {
  const noise = (shape: number[], seed: number) => tf.randomUniform(shape, -1, 1, 'float32', seed);
  const weights = tf.tidy(() => noise(f(...inputs).shape, 1));
  const loss = (...moved: tf.Tensor[]): tf.Scalar => tf.sum(tf.mul(f(...moved), weights));
  const gradients = tf.grads(loss)([...inputs]);
  for (const [i, input] of inputs.entries()) {
    for (const seed of [2, 3]) {
      const [expected, actual, scale] = tf.tidy(() => {
        const direction = noise(input.shape, seed);
        const at = (distance: number) =>
          loss(
            ...inputs.map((other, j) => (j === i ? tf.add(other, tf.mul(direction, distance)) : other)),
          ).dataSync()[0]!;
        const projected = tf.sum(tf.mul(gradients[i]!, direction)).dataSync()[0]!;
        return [
          (at(step) - at(-step)) / (2 * step),
          projected,
          tf.norm(gradients[i]!).dataSync()[0]! * tf.norm(direction).dataSync()[0]!,
        ] as const;
      });
      expect(
        Math.abs(actual - expected),
        `input ${i}: gradient ${actual}, differences ${expected}`,
      ).toBeLessThanOrEqual(2e-3 * (scale + 1));
    }
  }
  tf.dispose([weights, ...gradients]);
}
