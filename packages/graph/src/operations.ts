import * as tf from '@tensorflow/tfjs-core';
import {
  axisAttribute,
  choiceAttribute,
  convolvedSide,
  expectShape,
  integerAttribute,
  invalidInput,
  sizeOf,
  withSide,
} from './shapes.ts';
import type { ComputedValue, Shape, Value } from './value.ts';

type NoAttributes = Readonly<Record<never, never>>;
type Given = Readonly<Record<string, unknown>>;
type Shapes<Inputs> = { readonly [Name in keyof Inputs]: Shape };
type Tensors<Inputs> = { readonly [Name in keyof Inputs]: tf.Tensor };

interface Definition<Inputs, Attributes> {
  /** The attributes in full, from those that tfjs passes: defaults filled in, negative axes resolved. */
  attributes(given: Given, shapes: Shapes<Inputs>): Attributes;
  /** The shape of the output. */
  shape?(shapes: Shapes<Inputs>, attributes: Attributes): Shape;
  /** The shapes of the outputs, for an operation that returns a list of tensors. */
  shapes?(shapes: Shapes<Inputs>, attributes: Attributes): readonly Shape[];
  /**
   * What a fused operation computes, in tfjs ops: the oracle for tests of its kernels. An operation without a
   * reference is the tfjs kernel of the same name, with these inputs and attributes.
   */
  reference?(inputs: Tensors<Inputs>, attributes: Attributes): tf.Tensor;
  /** Never set; carries the types. */
  readonly types?: { readonly inputs: Inputs; readonly attributes: Attributes };
}

const operation = <Inputs, Attributes = NoAttributes>(
  definition: Definition<Inputs, Attributes>,
): Definition<Inputs, Attributes> => definition;

const noAttributes = (): NoAttributes => ({});

/** Element by element over two tensors whose shapes broadcast. */
const binary = () =>
  operation<{ a: Value; b: Value }>({
    attributes: noAttributes,
    shape: ({ a, b }) => tf.broadcast_util.assertAndGetBroadcastShape([...a], [...b]),
  });

/** Element by element over one tensor. */
const unary = () =>
  operation<{ x: Value }>({
    attributes: noAttributes,
    shape: ({ x }) => x,
  });

/** Activations that fused operations apply to their own result. */
const fusedActivations = ['relu', 'gelu'] as const;
export type FusedActivation = (typeof fusedActivations)[number];

/** x·Φ(x), where Φ is the standard normal distribution function. */
const gelu = (x: tf.Tensor): tf.Tensor => tf.mul(x, tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5));

const activate = (x: tf.Tensor, activation: FusedActivation | 'none'): tf.Tensor => {
  if (activation === 'none') return x;
  return activation === 'relu' ? tf.relu(x) : gelu(x);
};

interface LinearInputs {
  /** [..., inputs] */
  x: Value;
  /** [inputs, outputs] */
  weight: Value;
  /** [outputs] */
  bias?: Value;
}

function linearShape(
  name: string,
  { x, weight, bias, residual }: Shapes<LinearInputs & { residual?: Value }>,
): Shape {
  expectShape(name, 'weight', weight, [-1, -1]);
  const [inputs, outputs] = weight as [number, number];
  expectShape(name, 'x', x, [...x.slice(0, -1), inputs]);
  if (bias) expectShape(name, 'bias', bias, [outputs]);
  const shape = [...x.slice(0, -1), outputs];
  if (residual) expectShape(name, 'residual', residual, shape);
  return shape;
}

function linear({ x, weight, bias }: Tensors<LinearInputs>): tf.Tensor {
  const [inputs, outputs] = weight.shape as [number, number];
  const product = tf.matMul(tf.reshape(x, [x.size / inputs, inputs]), weight);
  return tf.reshape(bias ? tf.add(product, bias) : product, [...x.shape.slice(0, -1), outputs]);
}

/** tfjs's explicit form of padding: [before, after] for each axis of an NHWC tensor. */
export type Padding = readonly [
  readonly [number, number],
  readonly [number, number],
  readonly [number, number],
  readonly [number, number],
];

interface PoolAttributes {
  readonly filterSize: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly pad: Padding;
}

function poolAttributes({ filterSize, strides, pad }: Given, x: Shape): PoolAttributes {
  expectShape('MaxPool', 'x', x, [-1, -1, -1, -1]);
  const { filterHeight, filterWidth, strideHeight, strideWidth, padInfo } = tf.backend_util.computePool2DInfo(
    x as [number, number, number, number],
    filterSize as number,
    strides as number,
    1,
    pad as number,
  );
  const { top, bottom, left, right } = padInfo;
  return {
    filterSize: [filterHeight, filterWidth],
    strides: [strideHeight, strideWidth],
    pad: [
      [0, 0],
      [top, bottom],
      [left, right],
      [0, 0],
    ],
  };
}

function poolShape(
  [batch, height, width, channels]: Shape,
  { filterSize, strides, pad }: PoolAttributes,
): Shape {
  const along = (side: number, axis: 0 | 1): number => {
    const [before, after] = pad[axis + 1]!;
    return Math.floor((side + before + after - filterSize[axis]) / strides[axis]) + 1;
  };
  return [batch!, along(height!, 0), along(width!, 1), channels!];
}

/**
 * Every operation that a graph may contain. An entry is all that an operation needs here: its inputs, its
 * attributes, the shapes of its outputs and, if it is fused, its meaning in tfjs ops.
 */
export const operations = {
  // Kernels of tfjs, under their names there.
  Add: binary(),
  BatchMatMul: operation<
    { a: Value; b: Value },
    { readonly transposeA: boolean; readonly transposeB: boolean }
  >({
    attributes: ({ transposeA, transposeB }) => ({
      transposeA: transposeA === true,
      transposeB: transposeB === true,
    }),
    shape({ a, b }, { transposeA, transposeB }) {
      const [rows, depth] = transposeA ? [a.at(-1)!, a.at(-2)!] : [a.at(-2)!, a.at(-1)!];
      const columns = b.at(transposeB ? -2 : -1)!;
      expectShape('BatchMatMul', 'b', b, [
        ...b.slice(0, -2),
        ...(transposeB ? [columns, depth] : [depth, columns]),
      ]);
      const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.slice(0, -2), b.slice(0, -2));
      return [...batch, rows, columns];
    },
  }),
  Concat: operation<readonly Value[], { readonly axis: number }>({
    attributes: ({ axis }, shapes) => ({ axis: axisAttribute('Concat', axis, shapes[0]!) }),
    shape(shapes, { axis }) {
      const [first] = shapes;
      for (const [i, shape] of shapes.entries())
        expectShape('Concat', `${i}`, shape, withSide(first!, axis, -1));
      return withSide(
        first!,
        axis,
        shapes.reduce((sum, shape) => sum + shape[axis]!, 0),
      );
    },
  }),
  MaxPool: operation<{ x: Value }, PoolAttributes>({
    attributes: (given, { x }) => poolAttributes(given, x),
    shape: ({ x }, attributes) => poolShape(x, attributes),
  }),
  Mean: operation<{ x: Value }, { readonly axis: readonly number[]; readonly keepDims: boolean }>({
    attributes: ({ axis, keepDims }, { x }) => ({
      axis: tf.util.parseAxisParam(axis as number, [...x]),
      keepDims: keepDims === true,
    }),
    shape: ({ x }, { axis, keepDims }) =>
      keepDims ? x.map((side, i) => (axis.includes(i) ? 1 : side)) : x.filter((_, i) => !axis.includes(i)),
  }),
  Multiply: binary(),
  Relu: unary(),
  Reshape: operation<{ x: Value }, { readonly shape: Shape }>({
    attributes: ({ shape }, { x }) => ({
      shape: tf.util.inferFromImplicitShape(shape as number[], sizeOf(x)),
    }),
    shape: (_, { shape }) => shape,
  }),
  Rsqrt: unary(),
  Sigmoid: unary(),
  Slice: operation<{ x: Value }, { readonly begin: readonly number[]; readonly size: readonly number[] }>({
    attributes({ begin, size }, { x }) {
      const starts = [begin].flat() as number[];
      const lengths = [size ?? []].flat() as number[];
      return {
        begin: x.map((_, axis) => starts[axis] ?? 0),
        size: x.map((side, axis) =>
          (lengths[axis] ?? -1) < 0 ? side - (starts[axis] ?? 0) : lengths[axis]!,
        ),
      };
    },
    shape: (_, { size }) => size,
  }),
  Softmax: operation<{ logits: Value }, { readonly dim: number }>({
    attributes: ({ dim }, { logits }) => ({ dim: axisAttribute('Softmax', dim, logits) }),
    shape: ({ logits }) => logits,
  }),
  SplitV: operation<{ x: Value }, { readonly numOrSizeSplits: readonly number[]; readonly axis: number }>({
    attributes({ numOrSizeSplits, axis: given }, { x }) {
      const axis = axisAttribute('SplitV', given, x);
      const parts =
        typeof numOrSizeSplits === 'number'
          ? Array<number>(numOrSizeSplits).fill(x[axis]! / numOrSizeSplits)
          : (numOrSizeSplits as number[]);
      const rest = x[axis]! - parts.reduce((sum, side) => sum + Math.max(0, side), 0);
      return { axis, numOrSizeSplits: parts.map((side) => (side < 0 ? rest : side)) };
    },
    shapes: ({ x }, { numOrSizeSplits, axis }) => numOrSizeSplits.map((side) => withSide(x, axis, side)),
  }),
  Square: unary(),
  Sub: binary(),
  Tanh: unary(),
  Tile: operation<{ x: Value }, { readonly reps: readonly number[] }>({
    attributes: ({ reps }) => ({ reps: [...(reps as number[])] }),
    shape: ({ x }, { reps }) => x.map((side, axis) => side * reps[axis]!),
  }),
  Transpose: operation<{ x: Value }, { readonly perm: readonly number[] }>({
    attributes: ({ perm }) => ({ perm: [...(perm as number[])] }),
    shape: ({ x }, { perm }) => perm.map((axis) => x[axis]!),
  }),

  // Fused kernels, under the names by which the ops of @pvt/core look for them.
  /** Multi-head scaled dot-product attention. */
  PvtAttention: operation<
    {
      /** [batch, tokens, channels] */
      query: Value;
      /** [batch, keys, 2·channels], keys before values */
      keyValue: Value;
    },
    { readonly heads: number }
  >({
    attributes: ({ heads }) => ({ heads: integerAttribute('PvtAttention', 'heads', heads, 1) }),
    shape({ query, keyValue }, { heads }) {
      expectShape('PvtAttention', 'query', query, [-1, -1, -1]);
      const [batch, , channels] = query as [number, number, number];
      expectShape('PvtAttention', 'keyValue', keyValue, [batch, -1, 2 * channels]);
      if (channels % heads !== 0)
        throw invalidInput('PvtAttention', `heads to divide ${channels} channels`, `${heads}`);
      return query;
    },
    reference({ query, keyValue }, { heads }) {
      const [batch, tokens, channels] = query.shape as [number, number, number];
      const width = channels / heads;
      const splitHeads = (x: tf.Tensor) =>
        tf.transpose(tf.reshape(x, [batch, x.shape[1]!, heads, width]), [0, 2, 1, 3]);
      const [key, value] = tf.split(keyValue, 2, 2) as [tf.Tensor, tf.Tensor];
      const keys = splitHeads(tf.mul(key, width ** -0.5));
      const probabilities = tf.softmax(tf.matMul(splitHeads(query), keys, false, true));
      const mixed = tf.matMul(probabilities, splitHeads(value));
      return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch, tokens, channels]);
    },
  }),
  /** Convolution of NHWC maps, zero-padded on all sides, with a square filter; plus bias. */
  PvtConvolution: operation<
    {
      /** [batch, height, width, inputs] */
      x: Value;
      /** [kernel, kernel, inputs, outputs] */
      filter: Value;
      /** [outputs] */
      bias?: Value;
    },
    { readonly stride: number; readonly padding: number }
  >({
    attributes: ({ stride, padding }) => ({
      stride: integerAttribute('PvtConvolution', 'stride', stride, 1),
      padding: integerAttribute('PvtConvolution', 'padding', padding, 0),
    }),
    shape({ x, filter, bias }, { stride, padding }) {
      expectShape('PvtConvolution', 'x', x, [-1, -1, -1, -1]);
      const [batch, height, width, inputs] = x as [number, number, number, number];
      expectShape('PvtConvolution', 'filter', filter, [-1, filter[0] ?? -1, inputs, -1]);
      const [kernel, , , outputs] = filter as [number, number, number, number];
      if (bias) expectShape('PvtConvolution', 'bias', bias, [outputs]);
      return [
        batch,
        convolvedSide(height, kernel, stride, padding),
        convolvedSide(width, kernel, stride, padding),
        outputs,
      ];
    },
    reference({ x, filter, bias }, { stride, padding }) {
      const product = tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, stride, padding);
      return bias ? tf.add(product, bias) : product;
    },
  }),
  /** Depthwise 3x3 convolution of stride 1 and padding 1, plus bias, then the activation. */
  PvtDepthwise: operation<
    {
      /** [batch, height, width, channels] */
      x: Value;
      /** [3, 3, channels, 1] */
      filter: Value;
      /** [channels] */
      bias?: Value;
    },
    { readonly activation: FusedActivation | 'none' }
  >({
    attributes: ({ activation }) => ({
      activation: choiceAttribute('PvtDepthwise', 'activation', activation ?? 'none', [
        'none',
        ...fusedActivations,
      ]),
    }),
    shape({ x, filter, bias }) {
      expectShape('PvtDepthwise', 'x', x, [-1, -1, -1, -1]);
      expectShape('PvtDepthwise', 'filter', filter, [3, 3, x[3]!, 1]);
      if (bias) expectShape('PvtDepthwise', 'bias', bias, [x[3]!]);
      return x;
    },
    reference({ x, filter, bias }, { activation }) {
      const map = tf.depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, 1);
      return activate(bias ? tf.add(map, bias) : map, activation);
    },
  }),
  /** Exact GELU, x·Φ(x). */
  PvtGelu: operation<{ x: Value }>({
    attributes: noAttributes,
    shape: ({ x }) => x,
    reference: ({ x }) => gelu(x),
  }),
  /** Layer normalisation over the last axis, with biased variance. */
  PvtLayerNorm: operation<
    {
      /** [..., channels] */
      x: Value;
      /** [channels] */
      weight: Value;
      /** [channels] */
      bias: Value;
    },
    { readonly eps: number }
  >({
    attributes: ({ eps }) => ({ eps: eps as number }),
    shape({ x, weight, bias }) {
      const channels = x.at(-1) ?? -1;
      expectShape('PvtLayerNorm', 'x', x, x.length > 0 ? x : [-1]);
      expectShape('PvtLayerNorm', 'weight', weight, [channels]);
      expectShape('PvtLayerNorm', 'bias', bias, [channels]);
      return x;
    },
    reference({ x, weight, bias }, { eps }) {
      const centered = tf.sub(x, tf.mean(x, -1, true));
      const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), eps));
      return tf.add(tf.mul(tf.mul(centered, inverse), weight), bias);
    },
  }),
  /** x·weight + bias + residual. */
  PvtLinear: operation<LinearInputs & { residual?: Value }>({
    attributes: noAttributes,
    shape: (shapes) => linearShape('PvtLinear', shapes),
    reference({ residual, ...inputs }) {
      const product = linear(inputs);
      return residual ? tf.add(product, residual) : product;
    },
  }),
  /** activation(x·weight + bias). */
  PvtLinearActivation: operation<LinearInputs, { readonly activation: FusedActivation }>({
    attributes: ({ activation }) => ({
      activation: choiceAttribute('PvtLinearActivation', 'activation', activation, fusedActivations),
    }),
    shape: (shapes) => linearShape('PvtLinearActivation', shapes),
    reference: (inputs, { activation }) => activate(linear(inputs), activation),
  }),
} as const;

export type OperationName = keyof typeof operations;

/** The names of all operations that a graph may contain. */
export const operationNames = Object.keys(operations) as OperationName[];

type TypesOf<Name extends OperationName> = NonNullable<(typeof operations)[Name]['types']>;

/** The named inputs of an operation. */
export type InputsOf<Name extends OperationName> = Readonly<TypesOf<Name>['inputs']>;

/** The named attributes of an operation, all of them resolved. */
export type AttributesOf<Name extends OperationName> = Readonly<TypesOf<Name>['attributes']>;

/** An operation of one name. */
export interface OperationOf<Name extends OperationName> {
  readonly name: Name;
  readonly inputs: InputsOf<Name>;
  readonly attributes: AttributesOf<Name>;
  readonly outputs: readonly ComputedValue[];
}

/** An operation of a graph; its `name` tells its inputs and attributes. */
export type Operation = { [Name in OperationName]: OperationOf<Name> }[OperationName];
