import * as tf from '@tensorflow/tfjs-core';

/*
 * tfjs-core has gradients of its kernels in files that import one another without an extension, which Node
 * does not resolve. Here are those of the kernels that models and losses use.
 */

type GradientFunction = (
  dy: tf.Tensor,
  saved: tf.Tensor[],
  attributes: tf.NamedAttrMap,
) => Record<string, () => tf.Tensor>;
type Saves = Pick<tf.GradConfig, 'inputsToSave' | 'outputsToSave' | 'saveAllInputs'>;

const inputs = (...names: string[]): Saves => ({ inputsToSave: names });
const output: Saves = { outputsToSave: [true] };

/** Sums over broadcast axes. The result is always a tensor of its own, which the engine may free. */
function reduceTo(dy: tf.Tensor, shape: number[]): tf.Tensor {
  const axes = tf.broadcast_util.getReductionAxes(shape, dy.shape);
  return tf.reshape(axes.length > 0 ? tf.sum(dy, axes) : dy, shape);
}

/** Broadcasts a reduction's gradient over the reduced axes. */
function unreduce(dy: tf.Tensor, x: tf.Tensor, axis: unknown): tf.Tensor {
  const axes = tf.util.parseAxisParam(axis as number | number[], x.shape);
  const withOnes = x.shape.map((side, i) => (axes.includes(i) ? 1 : side));
  return tf.broadcastTo(tf.reshape(dy, withOnes), x.shape);
}

/** The gradient of a function of one tensor. */
const unary = (
  saves: Saves,
  gradient: (dy: tf.Tensor, saved: tf.Tensor) => tf.Tensor,
  name = 'x',
): [Saves, GradientFunction] => [saves, (dy, [saved]) => ({ [name]: () => gradient(dy, saved!) })];

/** The gradient of a function of two tensors with broadcasting. */
const binary = (
  da: (dy: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
  db: (dy: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
): [Saves, GradientFunction] => [
  inputs('a', 'b'),
  (dy, [a, b]) => ({
    a: () => reduceTo(da(dy, a!, b!), a!.shape),
    b: () => reduceTo(db(dy, a!, b!), b!.shape),
  }),
];

/**
 * The gradient of the largest or smallest value along axes, which every position with that value receives.
 */
const extreme = (axes: string): [Saves, GradientFunction] => [
  { inputsToSave: ['x'], outputsToSave: [true] },
  (dy, [x, y], { [axes]: axis }) => ({
    x: () => tf.mul(unreduce(dy, x!, axis), tf.cast(tf.equal(x!, unreduce(y!, x!, axis)), 'float32')),
  }),
];

const swapLast = (x: tf.Tensor): tf.Tensor =>
  tf.transpose(x, [...Array(x.rank - 2).keys(), x.rank - 1, x.rank - 2]);

/** Factors are transposed by a copy, because with a transpose flag the wasm backend runs a plain loop. */
const matMul: GradientFunction = (dy, [a, b], { transposeA, transposeB }) => ({
  a: () =>
    reduceTo(
      transposeA
        ? tf.matMul(transposeB ? swapLast(b!) : b!, swapLast(dy))
        : tf.matMul(dy, transposeB ? b! : swapLast(b!)),
      a!.shape,
    ),
  b: () =>
    reduceTo(
      transposeB
        ? tf.matMul(swapLast(dy), transposeA ? swapLast(a!) : a!)
        : tf.matMul(transposeA ? a! : swapLast(a!), dy),
      b!.shape,
    ),
});

const pool = (kernel: string, saves: Saves): [Saves, GradientFunction] => [
  saves,
  (dy, [x, y], { filterSize, strides, pad }) => ({
    x: () =>
      tf
        .engine()
        .runKernel(
          kernel,
          { dy, input: x!, ...(y && { output: y }) },
          { filterSize: filterSize!, strides: strides!, pad: pad! },
        ) as tf.Tensor,
  }),
];

/** Gradients of an op with several outputs come as a list, which tfjs's type of `gradFunc` does not say. */
const many = (dy: tf.Tensor): tf.Tensor[] => dy as unknown as tf.Tensor[];

const listed = (tensors: readonly tf.Tensor[]): Record<string, () => tf.Tensor> =>
  Object.fromEntries(tensors.map((tensor, i) => [i, () => tensor]));

const gradients: Record<string, [Saves, GradientFunction]> = {
  Abs: unary(inputs('x'), (dy, x) => tf.mul(dy, tf.sign(x))),
  Add: binary(
    (dy) => dy,
    (dy) => dy,
  ),
  AddN: [
    { saveAllInputs: true },
    (dy, saved) => Object.fromEntries(saved.map((_, i) => [i, () => dy.clone()])),
  ],
  AvgPool: pool('AvgPoolGrad', inputs('x')),
  BatchMatMul: [inputs('a', 'b'), matMul],
  Cast: unary({}, (dy) => dy.clone()),
  ClipByValue: [
    inputs('x'),
    (dy, [x], { clipValueMin, clipValueMax }) => ({
      x: () =>
        tf.mul(
          dy,
          tf.cast(
            tf.logicalAnd(
              tf.greaterEqual(x!, clipValueMin as number),
              tf.lessEqual(x!, clipValueMax as number),
            ),
            'float32',
          ),
        ),
    }),
  ],
  Concat: [
    { saveAllInputs: true },
    (dy, saved, { axis }) => {
      const [along] = tf.util.parseAxisParam(axis as number, dy.shape);
      return listed(
        tf.split(
          dy,
          saved.map(({ shape }) => shape[along!]!),
          along,
        ),
      );
    },
  ],
  Elu: unary(output, (dy, y) => tf.mul(dy, tf.where(tf.greater(y, 0), tf.onesLike(y), tf.add(y, 1)))),
  Erf: unary(inputs('x'), (dy, x) =>
    tf.mul(dy, tf.mul(tf.exp(tf.neg(tf.square(x))), 2 / Math.sqrt(Math.PI))),
  ),
  Exp: unary(output, (dy, y) => tf.mul(dy, y)),
  ExpandDims: unary(inputs('input'), (dy, x) => tf.reshape(dy, x.shape), 'input'),
  Identity: unary({}, (dy) => dy.clone()),
  LeakyRelu: [
    inputs('x'),
    (dy, [x], { alpha }) => ({
      x: () => tf.mul(dy, tf.where(tf.greater(x!, 0), tf.onesLike(x!), tf.fill(x!.shape, alpha as number))),
    }),
  ],
  Log: unary(inputs('x'), (dy, x) => tf.div(dy, x)),
  Log1p: unary(inputs('x'), (dy, x) => tf.div(dy, tf.add(x, 1))),
  LogSoftmax: [
    output,
    (dy, [y], { axis }) => ({
      logits: () => tf.sub(dy, tf.mul(tf.sum(dy, axis as number, true), tf.exp(y!))),
    }),
  ],
  Max: extreme('reductionIndices'),
  MaxPool: pool('MaxPoolGrad', { inputsToSave: ['x'], outputsToSave: [true] }),
  Maximum: binary(
    (dy, a, b) => tf.mul(dy, tf.cast(tf.greaterEqual(a, b), 'float32')),
    (dy, a, b) => tf.mul(dy, tf.cast(tf.less(a, b), 'float32')),
  ),
  Mean: [
    inputs('x'),
    (dy, [x], { axis }) => ({ x: () => unreduce(tf.mul(dy, dy.size / x!.size), x!, axis) }),
  ],
  Min: extreme('axis'),
  Minimum: binary(
    (dy, a, b) => tf.mul(dy, tf.cast(tf.lessEqual(a, b), 'float32')),
    (dy, a, b) => tf.mul(dy, tf.cast(tf.greater(a, b), 'float32')),
  ),
  Multiply: binary(
    (dy, _, b) => tf.mul(dy, b),
    (dy, a) => tf.mul(dy, a),
  ),
  Neg: unary({}, (dy) => tf.neg(dy)),
  Pack: [{ saveAllInputs: true }, (dy, _, { axis }) => listed(tf.unstack(dy, axis as number))],
  PadV2: [
    inputs('x'),
    (dy, [x], { paddings }) => ({
      x: () =>
        tf.slice(
          dy,
          (paddings as [number, number][]).map(([before]) => before),
          x!.shape,
        ),
    }),
  ],
  Pow: binary(
    (dy, a, b) => tf.mul(dy, tf.mul(b, tf.pow(a, tf.sub(b, 1)))),
    (dy, a, b) => tf.mul(dy, tf.mul(tf.pow(a, b), tf.log(tf.where(tf.greater(a, 0), a, tf.onesLike(a))))),
  ),
  RealDiv: binary(
    (dy, _, b) => tf.div(dy, b),
    (dy, a, b) => tf.neg(tf.div(tf.mul(dy, a), tf.square(b))),
  ),
  Reciprocal: unary(output, (dy, y) => tf.neg(tf.mul(dy, tf.square(y)))),
  Relu: unary(output, (dy, y) => tf.mul(dy, tf.step(y))),
  Reshape: unary(inputs('x'), (dy, x) => tf.reshape(dy, x.shape)),
  Reverse: [{}, (dy, _, { dims }) => ({ x: () => tf.reverse(dy, dims as number[]) })],
  Rsqrt: unary(output, (dy, y) => tf.mul(dy, tf.mul(tf.mul(y, tf.square(y)), -0.5))),
  Select: [
    inputs('condition'),
    (dy, [condition]) => ({
      condition: () => tf.zeros(condition!.shape),
      t: () => tf.mul(dy, tf.cast(condition!, 'float32')),
      e: () => tf.mul(dy, tf.cast(tf.logicalNot(condition!), 'float32')),
    }),
  ],
  Sigmoid: unary(output, (dy, y) => tf.mul(dy, tf.mul(y, tf.sub(1, y)))),
  Slice: [
    inputs('x'),
    (dy, [x], { begin, size }) => {
      const [start] = tf.slice_util.parseSliceParams(
        x!,
        begin as number | number[],
        size as number | number[],
      );
      return {
        x: () =>
          tf.pad(
            dy,
            start!.map((from, i): [number, number] => [from, x!.shape[i]! - from - dy.shape[i]!]),
          ),
      };
    },
  ],
  Softmax: [
    output,
    (dy, [y], { dim }) => ({
      logits: () => {
        const weighted = tf.mul(dy, y!);
        return tf.sub(weighted, tf.mul(tf.sum(weighted, dim as number, true), y!));
      },
    }),
  ],
  Softplus: unary(inputs('x'), (dy, x) => tf.mul(dy, tf.sigmoid(x))),
  SplitV: [{}, (dy, _, { axis }) => ({ x: () => tf.concat(many(dy), axis as number) })],
  Sqrt: unary(output, (dy, y) => tf.div(dy, tf.mul(y, 2))),
  Square: unary(inputs('x'), (dy, x) => tf.mul(dy, tf.mul(x, 2))),
  SquaredDifference: binary(
    (dy, a, b) => tf.mul(dy, tf.mul(tf.sub(a, b), 2)),
    (dy, a, b) => tf.mul(dy, tf.mul(tf.sub(b, a), 2)),
  ),
  Sub: binary(
    (dy) => dy,
    (dy) => tf.neg(dy),
  ),
  Sum: [inputs('x'), (dy, [x], { axis }) => ({ x: () => unreduce(dy, x!, axis) })],
  Tanh: unary(output, (dy, y) => tf.mul(dy, tf.sub(1, tf.square(y)))),
  Tile: [
    inputs('x'),
    (dy, [x], { reps }) => ({
      x: () =>
        x!.shape.reduce((rest: tf.Tensor, side, axis) => {
          const before = rest.shape.slice(0, axis);
          const after = rest.shape.slice(axis + 1);
          return tf.reshape(
            tf.sum(
              tf.reshape(rest, [
                tf.util.sizeFromShape(before),
                (reps as number[])[axis]!,
                side,
                tf.util.sizeFromShape(after),
              ]),
              1,
            ),
            [...before, side, ...after],
          );
        }, dy),
    }),
  ],
  Transpose: [
    {},
    (dy, _, { perm }) => ({
      x: () => tf.transpose(dy, tf.backend_util.getUndoAxesPermutation(perm as number[])),
    }),
  ],
  Unpack: [{}, (dy, _, { axis }) => ({ value: () => tf.stack(many(dy), axis as number) })],
};

/**
 * Registers gradients of tfjs's kernels that have none; importing this package has done so already.
 *
 * @returns the names of the kernels that got a gradient
 * @example
 * registerGradients(); // []: there is nothing left to register
 */
export function registerGradients(): string[] {
  const missing = Object.entries(gradients).filter(
    ([kernelName]) => tf.getGradient(kernelName) === undefined,
  );
  for (const [kernelName, [saves, gradFunc]] of missing)
    tf.registerGradient({ kernelName, ...saves, gradFunc: gradFunc as tf.GradFunc });
  return missing.map(([kernelName]) => kernelName);
}

registerGradients();
