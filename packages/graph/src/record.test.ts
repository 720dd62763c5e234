import * as tf from '@tensorflow/tfjs-core';
import {
  BackendError,
  ConfigError,
  convolution,
  createPvt,
  depthwise,
  gelu,
  layerNorm,
  linear,
  multiHeadAttention,
  pvtConfig,
  randomInit,
  ShapeError,
} from '@pvt/core';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { operationNames, operations, type Operation } from './operations.ts';
import { record, type Graph } from './record.ts';
import { flattenTensors } from './structure.ts';
import type { Value } from './value.ts';

beforeAll(() => useBackend('cpu'));

const noise = (shape: number[], seed = 1) => tf.randomNormal(shape, 0, 1, 'float32', seed);

/** Computes a graph with tfjs's kernels and, for fused operations, their references. */
function replay<O>(graph: Graph<O>, inputs: readonly tf.Tensor[]): O {
  const tensors = new Map<Value, tf.Tensor>();
  const tensorFor = (value: Value): tf.Tensor => {
    if (value.kind === 'input') return inputs[value.index]!;
    if (value.kind === 'weight') return value.tensor;
    if (value.kind === 'constant') return tf.tensor(value.data, [...value.shape]);
    return tensors.get(value)!;
  };
  for (const operation of graph.operations) {
    const results = [compute(operation, tensorFor)].flat();
    for (const [i, output] of operation.outputs.entries()) {
      expect([operation.name, results[i]!.shape]).toEqual([operation.name, output.shape]);
      tensors.set(output, results[i]!);
    }
  }
  return graph.assemble(graph.outputs.map(tensorFor));
}

function compute(
  { name, inputs, attributes }: Operation,
  tensorFor: (value: Value) => tf.Tensor,
): tf.Tensor | tf.Tensor[] {
  const named: tf.NamedTensorMap = Object.fromEntries(
    Object.entries(inputs as Record<string, Value>).map(([key, value]) => [key, tensorFor(value)]),
  );
  const { reference } = operations[name];
  if (reference !== undefined)
    return (reference as (inputs: object, attributes: object) => tf.Tensor)(named, attributes);
  // In tfjs's types, inputs of Concat are not a list, and attributes have no read-only arrays.
  const given = Array.isArray(inputs) ? (Object.values(named) as unknown as tf.NamedTensorMap) : named;
  return tf.engine().runKernel(name, given, attributes as unknown as tf.NamedAttrMap);
}

const namesOf = ({ operations }: Graph) => operations.map(({ name }) => name);
const exact = async (found: unknown, expected: unknown) => {
  const [a, b] = [flattenTensors(found), flattenTensors(expected)];
  expect(a.map(({ shape }) => shape)).toEqual(b.map(({ shape }) => shape));
  for (const [i, tensor] of a.entries()) await expectClose(tensor, await b[i]!.data(), 0);
};

describe('a recorded op', () => {
  const x4 = () => noise([2, 4, 6, 3]) as tf.Tensor4D;
  const weight = (...shape: number[]) => noise(shape, 7);
  type Case = readonly [name: string, attributes: object, shapes: number[][], op: () => unknown];
  const cases: Case[] = [
    ['Add', {}, [[2, 4, 6, 3]], () => tf.add(x4(), weight(3))],
    ['Sub', {}, [[5, 4]], () => tf.sub(weight(5, 1), weight(1, 4))],
    ['Multiply', {}, [[2, 2]], () => tf.mul(weight(2, 2), 3)],
    [
      'BatchMatMul',
      { transposeA: false, transposeB: true },
      [[7, 2, 5]],
      () => tf.matMul(weight(7, 2, 3), weight(1, 5, 3), false, true),
    ],
    [
      'BatchMatMul',
      { transposeA: true, transposeB: false },
      [[3, 5]],
      () => tf.matMul(weight(2, 3), weight(2, 5), true),
    ],
    ['Concat', { axis: 1 }, [[2, 7]], () => tf.concat([weight(2, 3), weight(2, 4)], -1)],
    [
      'MaxPool',
      {
        filterSize: [2, 3],
        strides: [2, 2],
        pad: [
          [0, 0],
          [0, 0],
          [0, 1],
          [0, 0],
        ],
      },
      [[2, 2, 3, 3]],
      () => tf.maxPool(x4(), [2, 3], 2, 'same'),
    ],
    [
      'MaxPool',
      {
        filterSize: [1, 1],
        strides: [2, 2],
        pad: [
          [0, 0],
          [0, 0],
          [0, 0],
          [0, 0],
        ],
      },
      [[2, 2, 3, 3]],
      () => tf.maxPool(x4(), 1, 2, 'valid'),
    ],
    ['Mean', { axis: [1, 2], keepDims: false }, [[2, 3]], () => tf.mean(x4(), [1, 2])],
    ['Mean', { axis: [3], keepDims: true }, [[2, 4, 6, 1]], () => tf.mean(x4(), -1, true)],
    ['Mean', { axis: [0, 1], keepDims: false }, [[]], () => tf.mean(weight(2, 3))],
    ['Relu', {}, [[2, 4, 6, 3]], () => tf.relu(x4())],
    ['Reshape', { shape: [8, 18] }, [[8, 18]], () => tf.reshape(x4(), [8, -1])],
    ['Rsqrt', {}, [[3]], () => tf.rsqrt(tf.square(weight(3)))],
    ['Sigmoid', {}, [[3]], () => tf.sigmoid(weight(3))],
    [
      'Slice',
      { begin: [0, 1, 2, 0], size: [2, 3, 4, 3] },
      [[2, 3, 4, 3]],
      () => tf.slice(x4(), [0, 1, 2], [2, -1, 4]),
    ],
    ['Slice', { begin: [2], size: [1] }, [[1]], () => tf.slice(weight(3), 2)],
    ['Softmax', { dim: 1 }, [[2, 5]], () => tf.softmax(weight(2, 5))],
    [
      'SplitV',
      { numOrSizeSplits: [3, 3], axis: 2 },
      [
        [2, 4, 3, 3],
        [2, 4, 3, 3],
      ],
      () => tf.split(x4(), 2, -2),
    ],
    [
      'SplitV',
      { numOrSizeSplits: [1, 5], axis: 1 },
      [
        [2, 1],
        [2, 5],
      ],
      () => tf.split(weight(2, 6), [1, -1], 1),
    ],
    ['Square', {}, [[3]], () => tf.square(weight(3))],
    ['Tanh', {}, [[3]], () => tf.tanh(weight(3))],
    ['Tile', { reps: [3, 2] }, [[3, 8]], () => tf.tile(weight(1, 4), [3, 2])],
    ['Transpose', { perm: [0, 3, 1, 2] }, [[2, 3, 4, 6]], () => tf.transpose(x4(), [0, 3, 1, 2])],
    [
      'PvtAttention',
      { heads: 3 },
      [[2, 5, 6]],
      () => multiHeadAttention(weight(2, 5, 6) as tf.Tensor3D, weight(2, 4, 12) as tf.Tensor3D, 3).tokens,
    ],
    [
      'PvtConvolution',
      { stride: 2, padding: 1 },
      [[2, 2, 3, 5]],
      () =>
        convolution(
          x4(),
          { weight: weight(3, 3, 3, 5) as tf.Tensor4D, bias: weight(5) as tf.Tensor1D },
          2,
          1,
        ),
    ],
    [
      'PvtDepthwise',
      { activation: 'none' },
      [[2, 4, 6, 3]],
      () => depthwise(x4(), { weight: weight(3, 3, 3, 1) as tf.Tensor4D, bias: weight(3) as tf.Tensor1D }, 1),
    ],
    [
      'PvtDepthwise',
      { activation: 'gelu' },
      [[2, 4, 6, 3]],
      () =>
        depthwise(
          x4(),
          { weight: weight(3, 3, 3, 1) as tf.Tensor4D, bias: weight(3) as tf.Tensor1D },
          1,
          'gelu',
        ),
    ],
    ['PvtGelu', {}, [[2, 4, 6, 3]], () => gelu(x4())],
    [
      'PvtLayerNorm',
      { eps: 1e-6 },
      [[2, 4, 6, 3]],
      () => layerNorm(x4(), weight(3) as tf.Tensor1D, weight(3) as tf.Tensor1D, 1e-6),
    ],
    [
      'PvtLinear',
      {},
      [[2, 5, 4]],
      () =>
        linear(
          weight(2, 5, 3),
          { weight: weight(3, 4) as tf.Tensor2D, bias: weight(4) as tf.Tensor1D },
          { residual: weight(2, 5, 4) },
        ),
    ],
    [
      'PvtLinearActivation',
      { activation: 'relu' },
      [[2, 4]],
      () =>
        linear(
          weight(2, 3),
          { weight: weight(3, 4) as tf.Tensor2D, bias: weight(4) as tf.Tensor1D },
          { activation: 'relu' },
        ),
    ],
  ];

  it.each(cases)(
    '%s %o has these shapes, and replayed gives what tfjs computes',
    async (name, attributes, shapes, op) => {
      const graph = record(op, []);
      const last = graph.operations.at(-1)!;
      expect([last.name, last.attributes]).toEqual([name, attributes]);
      expect(last.outputs.map(({ shape }) => shape)).toEqual(shapes);
      await exact(replay(graph, []), op());
    },
  );

  it('is one of the table, which is tested whole', () => {
    expect([...new Set(cases.map(([name]) => name))].sort()).toEqual([...operationNames].sort());
  });

  it('names its inputs', () => {
    const [x, w, b] = [noise([2, 3]), noise([3, 4]) as tf.Tensor2D, noise([4]) as tf.Tensor1D];
    const [operation] = record(() => linear(x, { weight: w, bias: b }), []).operations;
    expect(Object.keys(operation!.inputs)).toEqual(['x', 'weight', 'bias']);
    expect(Object.values(operation!.inputs)).toMatchObject([{ tensor: x }, { tensor: w }, { tensor: b }]);
  });
});

describe('a graph', () => {
  it('says of each value where it comes from', () => {
    const scale = tf.tensor1d([1, 2]);
    const graph = record(({ x }: { x: tf.Tensor }) => tf.add(tf.mul(x, scale), 3), { x: tf.ones([4, 2]) });
    expect(graph.values.map(({ id, kind, shape, dtype }) => [id, kind, shape, dtype])).toEqual([
      [0, 'input', [4, 2], 'float32'],
      [1, 'weight', [2], 'float32'],
      [2, 'computed', [4, 2], 'float32'],
      [3, 'constant', [], 'float32'],
      [4, 'computed', [4, 2], 'float32'],
    ]);
    expect(graph.inputs).toEqual([graph.values[0]]);
    expect(graph.outputs).toEqual([graph.values[4]]);
    expect(graph.values[1]).toHaveProperty('tensor', scale);
    expect(graph.values[3]).toHaveProperty('data', Float32Array.of(3));
  });

  it('gives the structure of the output back, inputs and weights in it too', () => {
    const fixed = tf.scalar(1);
    const forward = ({ a, b }: { a: tf.Tensor; b: tf.Tensor[] }) => {
      const sum = tf.add(a, b[0]!);
      return { sum, list: [b[1]!, 'text', null], again: sum, fixed, copy: tf.clone(sum) };
    };
    const graph = record(forward, { a: tf.scalar(1), b: [tf.scalar(2), tf.scalar(3)] });
    expect(graph.outputs.map(({ kind }) => kind)).toEqual(['computed', 'input', 'weight', 'computed']);
    expect(graph.outputs[3]).toBe(graph.outputs[0]);
    expect(namesOf(graph)).toEqual(['Add']);
    const tensors = [10, 20, 30, 40].map((value) => tf.scalar(value));
    const output = graph.assemble(tensors);
    expect(output).toEqual({
      sum: tensors[0],
      list: [tensors[1], 'text', null],
      again: tensors[0],
      fixed: tensors[2],
      copy: tensors[3],
    });
  });

  const small = { dims: [16, 24, 40, 64], depths: [1, 2, 1, 1], heads: [1, 2, 5, 8] };
  it.each([
    ['v1', pvtConfig({ version: 'v1', ...small, imageSize: [64, 96] })],
    ['v2', pvtConfig({ version: 'v2', ...small })],
    ['v2, linear', pvtConfig({ version: 'v2', ...small, linear: true })],
    ['v2 with SiLU', pvtConfig({ version: 'v2', ...small, activation: 'silu' })],
  ])('of a PVT %s, replayed, gives the very numbers of its forward', async (_, config) => {
    const model = createPvt(config, randomInit(1));
    const input = noise([2, 64, 96, 3]) as tf.Tensor4D;
    const forward = (x: tf.Tensor4D) => {
      const { pyramid, embedding } = model.forward(x);
      return { maps: pyramid.map(({ tensor }) => tensor), embedding };
    };
    const graph = record(forward, input);
    await exact(replay(graph, [input]), forward(input));
    const parameters = new Set(flattenTensors(model.params));
    const weights = graph.values.flatMap((value) => (value.kind === 'weight' ? [value.tensor] : []));
    expect(weights.every((weight) => parameters.has(weight))).toBe(true);
    expect(new Set(weights).size).toBe(weights.length);
    model.dispose();
  });

  it('is the same for the same forward and shapes', () => {
    const model = createPvt(pvtConfig({ version: 'v2', ...small }), randomInit(1));
    const graphs = [1, 2].map((seed) =>
      record((x: tf.Tensor4D) => model.forward(x).embedding, noise([1, 64, 64, 3], seed) as tf.Tensor4D),
    );
    expect(graphs[0]!.operations).toEqual(graphs[1]!.operations);
    expect(graphs[0]!.values).toEqual(graphs[1]!.values);
    expect(namesOf(graphs[0]!)).toContain('PvtAttention');
    model.dispose();
  });
});

describe('recording', () => {
  it.each<[string, (x: tf.Tensor) => unknown, string, RegExp, new (...args: never[]) => Error]>([
    [
      'an operation that graphs lack',
      (x) => tf.cumsum(x),
      'runner-op-missing',
      /expected operations among Add, .*Transpose and the layers of @pvt\/core, got Cumsum/,
      BackendError,
    ],
    [
      'values read in between',
      (x) => tf.mul(x, x.dataSync()[0]!),
      'recording-has-no-values',
      /read/,
      BackendError,
    ],
    [
      'integers',
      (x) => tf.add(x, tf.tensor1d([1], 'int32')),
      'kernel-input-invalid',
      /got int32/,
      ShapeError,
    ],
    ['a promise', () => Promise.resolve(tf.scalar(1)), 'runner-output-missing', /promise/, ConfigError],
    [
      'heads that do not divide the channels',
      () => multiHeadAttention(tf.zeros([1, 2, 6]), tf.zeros([1, 2, 12]), 4),
      'operation-input-invalid',
      /PvtAttention: expected heads to divide 6 channels, got 4/,
      ShapeError,
    ],
    [
      'factors that do not fit',
      (x) => linear(x, { weight: tf.zeros([3, 2]) }),
      'operation-input-invalid',
      /PvtLinear: expected x of shape \[2,3\], got \[2,2\]/,
      ShapeError,
    ],
    [
      'attributes that nobody would heed',
      (x) => tf.engine().runKernel('Relu', { x }, { alpha: 1 }),
      'operation-input-invalid',
      /Relu: expected attributes none, got alpha/,
      ShapeError,
    ],
  ])('refuses %s, and leaves everything as it was', (_, forward, code, message, type) => {
    const x = noise([2, 2]);
    const before = tf.memory().numTensors;
    let failure: unknown;
    try {
      record(forward, x);
    } catch (error) {
      failure = error;
    }
    expect(failure).toBeInstanceOf(type);
    expect(failure).toMatchObject({ code, message: expect.stringMatching(message) as unknown });
    expect([tf.getBackend(), tf.memory().numTensors]).toEqual(['cpu', before]);
  });

  it('leaves no tensor behind', () =>
    expectNoLeak(() => {
      const x = noise([2, 2]);
      record((input: tf.Tensor) => tf.relu(tf.add(input, 1)), x);
      x.dispose();
    }));
});
