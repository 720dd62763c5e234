import * as tf from '@tensorflow/tfjs-core';
import { expectGradient, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { registerGradients } from './gradients.ts';

const values = (shape: number[], from = -1, to = 1, seed = 5) =>
  tf.randomUniform(shape, from, to, 'float32', seed);
const a = () => values([2, 3, 4]);
const b = () => values([3, 1], 0.5, 1.5, 6);
const positive = () => values([2, 3], 0.5, 2);
/** Values at least 0.1 apart and away from 0, so that differences cross no edge. */
const apart = (shape: number[]) =>
  tf.tidy(() =>
    tf.reshape(
      tf.mul(
        tf.tensor1d(Array.from({ length: tf.util.sizeFromShape(shape) }, (_, i) => ((i * 7) % 23) - 11.5)),
        0.1,
      ),
      shape,
    ),
  );

const cases: Record<string, readonly [(...inputs: tf.Tensor[]) => tf.Tensor, () => tf.Tensor[]]> = {
  Abs: [(x) => tf.abs(x!), () => [apart([2, 3, 3])]],
  Add: [(x, y) => tf.add(x!, y!), () => [a(), b()]],
  AddN: [(x, y) => tf.addN([x!, y!, x!]), () => [a(), values([2, 3, 4], -1, 1, 9)]],
  AvgPool: [(x) => tf.avgPool(x as tf.Tensor4D, 2, 2, 'valid'), () => [values([1, 4, 6, 2])]],
  'BatchMatMul, plain': [(x, y) => tf.matMul(x!, y!), () => [values([2, 3, 4]), values([2, 4, 5])]],
  'BatchMatMul, left transposed': [
    (x, y) => tf.matMul(x!, y!, true),
    () => [values([2, 4, 3]), values([2, 4, 5])],
  ],
  'BatchMatMul, right transposed': [
    (x, y) => tf.matMul(x!, y!, false, true),
    () => [values([2, 3, 4]), values([2, 5, 4])],
  ],
  'BatchMatMul, both transposed': [
    (x, y) => tf.matMul(x!, y!, true, true),
    () => [values([4, 3]), values([5, 4])],
  ],
  'BatchMatMul, one for all of a batch': [
    (x, y) => tf.matMul(x!, y!),
    () => [values([2, 3, 4]), values([1, 4, 5])],
  ],
  ClipByValue: [(x) => tf.clipByValue(x!, -0.52, 0.52), () => [apart([3, 4])]],
  Concat: [(x, y) => tf.concat([x!, y!], 1), () => [values([2, 3, 2]), values([2, 1, 2])]],
  Elu: [(x) => tf.elu(x!), () => [apart([3, 4])]],
  Erf: [(x) => tf.erf(x!), () => [a()]],
  Exp: [(x) => tf.exp(x!), () => [a()]],
  ExpandDims: [(x) => tf.expandDims(x!, 1), () => [a()]],
  Identity: [(x) => tf.clone(x!), () => [a()]],
  LeakyRelu: [(x) => tf.leakyRelu(x!, 0.1), () => [apart([3, 4])]],
  Log: [(x) => tf.log(x!), () => [positive()]],
  Log1p: [(x) => tf.log1p(x!), () => [positive()]],
  LogSoftmax: [(x) => tf.logSoftmax(x!), () => [a()]],
  Max: [(x) => tf.max(x!, 1), () => [apart([2, 3, 3])]],
  MaxPool: [(x) => tf.maxPool(x as tf.Tensor4D, 2, 2, 'valid'), () => [apart([1, 4, 4, 1])]],
  Maximum: [(x, y) => tf.maximum(x!, y!), () => [apart([2, 3, 3]), tf.tensor2d([[0.02], [0.31], [-0.32]])]],
  Mean: [(x) => tf.mean(x!, [0, 2]), () => [a()]],
  Min: [(x) => tf.min(x!, [1, 2]), () => [apart([2, 3, 3])]],
  Minimum: [(x, y) => tf.minimum(x!, y!), () => [apart([2, 3, 3]), tf.tensor2d([[0.02], [0.31], [-0.32]])]],
  Multiply: [(x, y) => tf.mul(x!, y!), () => [a(), b()]],
  Neg: [(x) => tf.neg(x!), () => [a()]],
  Pack: [(x, y) => tf.stack([x!, y!], 1), () => [values([2, 3]), values([2, 3])]],
  PadV2: [
    (x) =>
      tf.pad(x!, [
        [1, 0],
        [0, 2],
        [1, 1],
      ]),
    () => [a()],
  ],
  Pow: [(x, y) => tf.pow(x!, y!), () => [positive(), values([3], 1.5, 2.5)]],
  RealDiv: [(x, y) => tf.div(x!, y!), () => [a(), b()]],
  Reciprocal: [(x) => tf.reciprocal(x!), () => [positive()]],
  Relu: [(x) => tf.relu(x!), () => [apart([3, 4])]],
  Reshape: [(x) => tf.reshape(x!, [4, 6]), () => [a()]],
  Reverse: [(x) => tf.reverse(x!, [0, 2]), () => [a()]],
  Rsqrt: [(x) => tf.rsqrt(x!), () => [positive()]],
  Select: [
    (x, y) => tf.where(tf.tensor1d([true, false, true], 'bool'), x!, y!),
    () => [values([2, 3]), values([2, 3], -1, 1, 8)],
  ],
  Sigmoid: [(x) => tf.sigmoid(x!), () => [a()]],
  Slice: [(x) => tf.slice(x!, [0, 1], [-1, 2]), () => [a()]],
  Softmax: [(x) => tf.softmax(x!), () => [a()]],
  Softplus: [(x) => tf.softplus(x!), () => [a()]],
  SplitV: [(x) => tf.mul(...(tf.split(x!, [2, 2], 2) as [tf.Tensor, tf.Tensor])), () => [a()]],
  Sqrt: [(x) => tf.sqrt(x!), () => [positive()]],
  Square: [(x) => tf.square(x!), () => [a()]],
  SquaredDifference: [(x, y) => tf.squaredDifference(x!, y!), () => [a(), b()]],
  Sub: [(x, y) => tf.sub(x!, y!), () => [a(), b()]],
  Sum: [(x) => tf.sum(x!, [-1], true), () => [a()]],
  Tanh: [(x) => tf.tanh(x!), () => [a()]],
  Tile: [(x) => tf.tile(x!, [2, 1, 3]), () => [a()]],
  Transpose: [(x) => tf.transpose(x!, [2, 0, 1]), () => [a()]],
  Unpack: [(x) => tf.mul(...(tf.unstack(x!, 1).slice(0, 2) as [tf.Tensor, tf.Tensor])), () => [a()]],
};

describe.each(['cpu', 'wasm'] as const)('gradients of kernels on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(Object.entries(cases))('%s', async (_, [f, inputs]) => {
    const given = inputs();
    await expectGradient(f, given);
    tf.dispose(given);
  });
});

it('are registered by the import, and once', () => expect(registerGradients()).toEqual([]));
