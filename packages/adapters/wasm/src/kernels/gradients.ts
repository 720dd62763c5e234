import * as tf from '@tensorflow/tfjs-core';
import { check, checkInteger, geometryOf, type Kernel } from './check.ts';
import { sizeOf } from '../shape.ts';

/** xᵀ·dy, summed over all leading axes. */
const linearWeightGradient: Kernel = (heap, { x, dy }) => {
  const name = 'PvtLinearWeightGradient';
  check(name, 'x', x, [...(x?.shape.slice(0, -1) ?? []), -1]);
  check(name, 'dy', dy, [...x!.shape.slice(0, -1), -1]);
  const [inputs, outputs] = [x!.shape.at(-1)!, dy!.shape.at(-1)!];
  const out = heap.zeros([inputs, outputs]);
  const rows = sizeOf(x!.shape.slice(0, -1));
  if (rows * inputs * outputs > 0)
    heap.kernels.multiplyTransposed(
      rows,
      inputs,
      outputs,
      heap.address(x!),
      4 * inputs,
      heap.address(dy!),
      4 * outputs,
      heap.address(out),
      4 * outputs,
    );
  return out;
};

/** Sum over all axes but the last. */
const rowSum: Kernel = (heap, { x }) => {
  check('PvtRowSum', 'x', x, [...(x?.shape.slice(0, -1) ?? []), -1]);
  const columns = x!.shape.at(-1)!;
  const out = heap.zeros([columns]);
  if (sizeOf(x!.shape) > 0)
    heap.kernels.addRows(sizeOf(x!.shape) / columns, columns, heap.address(x!), heap.address(out));
  return out;
};

const geluGradient: Kernel = (heap, { x, dy }) => {
  check('PvtGeluGradient', 'x', x, x?.shape ?? []);
  check('PvtGeluGradient', 'dy', dy, x!.shape);
  const out = heap.output(x!.shape);
  heap.kernels.geluGradient(sizeOf(x!.shape), heap.address(x!), heap.address(dy!), heap.address(out));
  return out;
};

/** dx, dWeight, dBias. */
const layerNormGradient: Kernel = (heap, { x, weight, dy }, { eps }) => {
  const name = 'PvtLayerNormGradient';
  check(name, 'x', x, [...(x?.shape.slice(0, -1) ?? []), -1]);
  const channels = x!.shape.at(-1)!;
  check(name, 'weight', weight, [channels]);
  check(name, 'dy', dy, x!.shape);
  const [dx, dWeight, dBias] = [heap.output(x!.shape), heap.zeros([channels]), heap.zeros([channels])];
  const size = sizeOf(x!.shape);
  if (size > 0) {
    const scratch = heap.scratch(8 * channels);
    heap.kernels.layerNormGradient(
      size / channels,
      channels,
      heap.address(x!),
      heap.address(weight!),
      heap.address(dy!),
      heap.address(dx),
      heap.address(dWeight),
      heap.address(dBias),
      scratch,
      eps as number,
    );
  }
  return [dx, dWeight, dBias];
};

/** dQuery, dKeyValue. */
const attentionGradient: Kernel = (heap, { query, keyValue, dy }, attrs) => {
  const name = 'PvtAttentionGradient';
  const heads = checkInteger(name, 'heads', attrs['heads'], 1);
  check(name, 'query', query, [-1, -1, -1]);
  const [batch, tokens, channels] = query!.shape as [number, number, number];
  check(name, 'keyValue', keyValue, [batch, -1, 2 * channels]);
  check(name, 'dy', dy, query!.shape);
  const keys = keyValue!.shape[1]!;
  const width = Math.floor(channels / heads);
  const [dQuery, dKeyValue] = [heap.zeros(query!.shape), heap.zeros(keyValue!.shape)];
  if (batch * tokens * channels * keys === 0) return [dQuery, dKeyValue];
  const scratch = heap.scratch(heap.kernels.attentionGradientScratch(keys, width));
  const [q, kv] = [heap.address(query!), heap.address(keyValue!)];
  const [gradient, dq, dkv] = [heap.address(dy!), heap.address(dQuery), heap.address(dKeyValue)];
  for (let index = 0; index < batch; index++) {
    const [step, keyStep] = [4 * index * channels * tokens, 8 * index * channels * keys];
    heap.kernels.attentionGradient(
      tokens,
      keys,
      heads,
      width,
      q + step,
      kv + keyStep,
      gradient + step,
      dq + step,
      dkv + keyStep,
      scratch,
    );
  }
  return [dQuery, dKeyValue];
};

const depthwiseFilterGradient: Kernel = (heap, { x, dy }) => {
  const name = 'PvtDepthwiseFilterGradient';
  check(name, 'x', x, [-1, -1, -1, -1]);
  check(name, 'dy', dy, x!.shape);
  const [batch, height, width, channels] = x!.shape as [number, number, number, number];
  const out = heap.zeros([3, 3, channels, 1]);
  if (sizeOf(x!.shape) === 0) return out;
  const step = 4 * height * width * channels;
  const [from, gradient, to] = [heap.address(x!), heap.address(dy!), heap.address(out)];
  for (let index = 0; index < batch; index++)
    heap.kernels.depthwiseFilterGradient(
      height,
      width,
      channels,
      from + index * step,
      gradient + index * step,
      to,
    );
  return out;
};

const convolutionFilterGradient: Kernel = (heap, { x, dy }, attrs) => {
  const name = 'PvtConvolutionFilterGradient';
  check(name, 'x', x, [-1, -1, -1, -1]);
  check(name, 'dy', dy, [x!.shape[0]!, -1, -1, -1]);
  const kernel = checkInteger(name, 'kernel', attrs['kernel'], 1);
  const [batch, height, width, channels] = x!.shape as [number, number, number, number];
  const outputs = dy!.shape[3]!;
  const { geometry, depth, outHeight, outWidth } = geometryOf(name, x!.shape, kernel, outputs, attrs);
  check(name, 'dy', dy, [batch, outHeight, outWidth, outputs]);
  const out = heap.zeros([kernel, kernel, channels, outputs]);
  if (sizeOf(dy!.shape) * depth === 0) return out;
  const scratch = heap.scratch(heap.kernels.convolutionScratch(depth));
  const [from, gradient, to] = [heap.address(x!), heap.address(dy!), heap.address(out)];
  const [step, outStep] = [4 * height * width * channels, 4 * outHeight * outWidth * outputs];
  for (let index = 0; index < batch; index++)
    heap.kernels.convolutionFilterGradient(
      ...geometry,
      from + index * step,
      gradient + index * outStep,
      to,
      scratch,
    );
  return out;
};

const convolutionInputGradient: Kernel = (heap, { dy, filter }, attrs) => {
  const name = 'PvtConvolutionInputGradient';
  check(name, 'filter', filter, [-1, filter?.shape[0] ?? -1, -1, -1]);
  const [kernel, , channels, outputs] = filter!.shape as [number, number, number, number];
  const [height, width] = [
    checkInteger(name, 'height', attrs['height'], 0),
    checkInteger(name, 'width', attrs['width'], 0),
  ];
  const batch = dy?.shape[0] ?? 0;
  const shape = [batch, height, width, channels];
  const { geometry, depth, outHeight, outWidth } = geometryOf(name, shape, kernel, outputs, attrs);
  check(name, 'dy', dy, [batch, outHeight, outWidth, outputs]);
  const out = heap.zeros(shape);
  if (sizeOf(dy!.shape) * depth === 0) return out;
  const panels = heap.panels(filter!, depth, outputs, true);
  const scratch = heap.scratch(heap.kernels.convolutionScratch(depth));
  const [gradient, to] = [heap.address(dy!), heap.address(out)];
  const [step, outStep] = [4 * height * width * channels, 4 * outHeight * outWidth * outputs];
  for (let index = 0; index < batch; index++)
    heap.kernels.convolutionInputGradient(
      ...geometry,
      gradient + index * outStep,
      panels,
      to + index * step,
      scratch,
    );
  return out;
};

export const gradientKernels: Readonly<Record<string, Kernel>> = {
  PvtLinearWeightGradient: linearWeightGradient,
  PvtRowSum: rowSum,
  PvtGeluGradient: geluGradient,
  PvtLayerNormGradient: layerNormGradient,
  PvtAttentionGradient: attentionGradient,
  PvtDepthwiseFilterGradient: depthwiseFilterGradient,
  PvtConvolutionFilterGradient: convolutionFilterGradient,
  PvtConvolutionInputGradient: convolutionInputGradient,
};

const run = <T extends tf.Tensor | tf.Tensor[] = tf.Tensor>(
  kernel: string,
  inputs: Record<string, tf.Tensor>,
  attrs: tf.NamedAttrMap = {},
): T => tf.engine().runKernel(kernel, inputs, attrs) as T;

/** The gradient before an activation, from the one after it; the activation's input is computed again. */
const beforeActivation = (dy: tf.Tensor, activation: unknown, before: () => tf.Tensor): tf.Tensor => {
  if (activation === 'gelu') return run('PvtGeluGradient', { x: before(), dy });
  if (activation === 'relu') return tf.mul(dy, tf.step(before()));
  return dy;
};

const linearGradients = (dy: tf.Tensor, x: tf.Tensor, weight: tf.Tensor) => ({
  x: () => run('PvtLinear', { x: dy, weight }, { transposed: true }),
  weight: () => run('PvtLinearWeightGradient', { x, dy }),
  bias: () => run('PvtRowSum', { x: dy }),
});

/** Gradients of the forward kernels, made of kernels. */
export const gradients: readonly tf.GradConfig[] = [
  {
    kernelName: 'PvtLinear',
    inputsToSave: ['x', 'weight'],
    gradFunc: (dy, [x, weight]) => ({
      ...linearGradients(dy as tf.Tensor, x!, weight!),
      residual: () => tf.clone(dy as tf.Tensor),
    }),
  },
  {
    kernelName: 'PvtLinearActivation',
    inputsToSave: ['x', 'weight', 'bias'],
    gradFunc: (gradient, [x, weight, bias], { activation }) => {
      const dy = beforeActivation(gradient as tf.Tensor, activation, () =>
        run('PvtLinear', { x: x!, weight: weight!, bias: bias! }),
      );
      return linearGradients(dy, x!, weight!);
    },
  },
  {
    kernelName: 'PvtLayerNorm',
    inputsToSave: ['x', 'weight'],
    gradFunc: (dy, [x, weight], attrs) => {
      const [dx, dWeight, dBias] = run<tf.Tensor[]>(
        'PvtLayerNormGradient',
        { x: x!, weight: weight!, dy: dy as tf.Tensor },
        attrs,
      );
      return { x: () => dx!, weight: () => dWeight!, bias: () => dBias! };
    },
  },
  {
    kernelName: 'PvtGelu',
    inputsToSave: ['x'],
    gradFunc: (dy, [x]) => ({ x: () => run('PvtGeluGradient', { x: x!, dy: dy as tf.Tensor }) }),
  },
  {
    kernelName: 'PvtAttention',
    inputsToSave: ['query', 'keyValue'],
    gradFunc: (dy, [query, keyValue], attrs) => {
      const [dQuery, dKeyValue] = run<tf.Tensor[]>(
        'PvtAttentionGradient',
        { query: query!, keyValue: keyValue!, dy: dy as tf.Tensor },
        attrs,
      );
      return { query: () => dQuery!, keyValue: () => dKeyValue! };
    },
  },
  {
    kernelName: 'PvtDepthwise',
    inputsToSave: ['x', 'filter', 'bias'],
    gradFunc: (gradient, [x, filter, bias], { activation }) => {
      const dy = beforeActivation(gradient as tf.Tensor, activation, () =>
        run('PvtDepthwise', { x: x!, filter: filter!, bias: bias! }),
      );
      return {
        x: () => run('PvtDepthwise', { x: dy, filter: tf.reverse(filter!, [0, 1]) }),
        filter: () => run('PvtDepthwiseFilterGradient', { x: x!, dy }),
        bias: () => run('PvtRowSum', { x: dy }),
      };
    },
  },
  {
    kernelName: 'PvtConvolution',
    inputsToSave: ['x', 'filter'],
    gradFunc: (gradient, [x, filter], attrs) => {
      const dy = gradient as tf.Tensor;
      const [, height, width] = x!.shape as [number, number, number];
      return {
        x: () => run('PvtConvolutionInputGradient', { dy, filter: filter! }, { ...attrs, height, width }),
        filter: () =>
          run('PvtConvolutionFilterGradient', { x: x!, dy }, { ...attrs, kernel: filter!.shape[0]! }),
        bias: () => run('PvtRowSum', { x: dy }),
      };
    },
  },
];
