import * as tf from '@tensorflow/tfjs-core';
import { BackendError, ConfigError } from '@pvt/core';
import { type Operation, operationNames } from './operations.ts';
import { Recorder } from './recorder.ts';
import { flattenTensors, mapTensors } from './structure.ts';
import type { InputValue, Value } from './value.ts';

/** A forward as a list of operations, recorded for inputs of given shapes. */
export interface Graph<O = unknown> {
  /** Every tensor of the forward, by id. */
  readonly values: readonly Value[];
  /** In the order in which the forward calls them: an operation comes after those that compute its inputs. */
  readonly operations: readonly Operation[];
  /** The tensors of the forward's input, in the order of `flattenTensors`. */
  readonly inputs: readonly InputValue[];
  /** The tensors of the forward's output, in the order of `flattenTensors`, each once. */
  readonly outputs: readonly Value[];
  /** The structure that the forward returned, with these tensors as its {@link outputs}. */
  assemble(tensors: readonly tf.Tensor[]): O;
}

const backendName = 'pvt-recorder';
/** tfjs copies a tensor by it; a graph refers to the same value again. */
const recordedKernels = [...operationNames, 'Identity'] as const;

/**
 * Calls a forward once on stand-ins for its input and writes down the operations of tfjs that it calls.
 * Nothing is computed. The ops of `@pvt/core` are recorded as fused operations (`PvtLinear`, `PvtAttention`,
 * ...).
 *
 * @param forward a pure function from a tensor, or tensors in a structure of arrays and objects, to others;
 * it must not read values of tensors
 * @param input borrowed; only shapes of its tensors matter
 * @throws BackendError for an operation that graphs do not contain, or a forward that reads values;
 * ConfigError for a forward that returns no tensors; ShapeError for tensors that are not float32, or of wrong
 * shape
 * @example
 * const image = tf.zeros<tf.Rank.R4>([1, 224, 224, 3]);
 * const graph = record((x: tf.Tensor4D) => backbone.forward(x).embedding, image);
 * for (const { name, attributes } of graph.operations) console.log(name, attributes);
 */
export function record<I, O>(forward: (input: I) => O, input: I): Graph<O> {
  const recorder = new Recorder();
  return withBackend(recorder, () => {
    const inputs: InputValue[] = [];
    const standIns = mapTensors(input, (tensor) => {
      const value = recorder.addInput(tensor, inputs.length);
      inputs.push(value);
      return tf.engine().makeTensorFromTensorInfo(recorder.tensorInfo(value));
    });
    const output = forward(standIns as I);
    const tensors = [...new Set(flattenTensors(output))];
    if (tensors.length === 0)
      throw new ConfigError(
        'runner-output-missing',
        'record: expected a forward that returns tensors, in arrays and objects, got none; ' +
          'return the tensors themselves instead of a promise.',
      );
    return {
      values: recorder.values,
      operations: recorder.operations,
      inputs,
      outputs: tensors.map((tensor) => recorder.valueFor(tensor)),
      assemble: (results) => mapTensors(output, (tensor) => results[tensors.indexOf(tensor)]) as O,
    };
  });
}

/** Runs `work` with the recorder as the current backend, and leaves tfjs as it was before. */
function withBackend<T>(recorder: Recorder, work: () => T): T {
  const previous = tf.getBackend();
  tf.registerBackend(backendName, () => recorder);
  for (const kernelName of recordedKernels) {
    tf.registerKernel({
      kernelName,
      backendName,
      // The types say TensorInfo; tfjs passes tensors.
      kernelFunc: ({ inputs, attrs }) =>
        recorder.call(kernelName, inputs as Record<string, tf.Tensor>, attrs ?? {}),
    });
  }
  tf.engine().startScope();
  try {
    // The recorder is there at once, so that the backend has changed when the call returns.
    void tf.setBackend(backendName);
    return work();
  } catch (error) {
    throw missingOperation(error) ?? error;
  } finally {
    tf.engine().endScope();
    // If there was no backend yet, tfjs chooses one at its next op.
    if (previous) void tf.setBackend(previous);
    for (const kernelName of recordedKernels) tf.unregisterKernel(kernelName, backendName);
    tf.removeBackend(backendName);
  }
}

/** The error for a kernel that the recorder lacks, if that is what tfjs complains of. */
function missingOperation(cause: unknown): BackendError | undefined {
  const [, name] =
    /Kernel '(\w+)' not registered|Cannot find registered kernel '(\w+)'/
      .exec(String(cause))
      ?.filter(Boolean) ?? [];
  if (name === undefined) return undefined;
  const known = recordedKernels.filter((kernel) => !kernel.startsWith('Pvt')).sort();
  return new BackendError(
    'runner-op-missing',
    `record: expected operations among ${known.join(', ')} and the layers of @pvt/core, got ${name}; ` +
      'compute it outside of the recorded forward.',
    { cause },
  );
}
