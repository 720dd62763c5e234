import type { TensorInfo } from '@tensorflow/tfjs-core';
import { ShapeError } from '@pvt/core';
import { check, checkInteger, geometryOf, type Kernel } from './check.ts';
import { sizeOf } from '../shape.ts';
import { enums, type Activation } from '../generated/calls.ts';
import type { Heap } from './heap.ts';

/** The number by which kernels know an activation. */
function activationCode(kernel: string, activation: unknown): number {
  const code = enums.Activation.indexOf((activation ?? 'none') as Activation);
  if (code < 0)
    throw new ShapeError(
      'kernel-input-invalid',
      `${kernel}: expected an activation among ${enums.Activation.join(', ')}, got ${String(activation)}; ` +
        'apply others after the kernel.',
    );
  return code;
}

/** activation(x·W + b), or x·W + b + residual; `transposed` multiplies by Wᵀ. */
const linear: Kernel = (heap, { x, weight, bias, residual }, { activation, transposed }) => {
  const name = 'PvtLinear';
  check(name, 'weight', weight, [-1, -1]);
  const [inputs, outputs] = weight!.shape as [number, number];
  const [depth, columns] = transposed === true ? [outputs, inputs] : [inputs, outputs];
  check(name, 'x', x, [...(x?.shape.slice(0, -1) ?? []), depth]);
  const shape = [...x!.shape.slice(0, -1), columns];
  if (bias) check(name, 'bias', bias, [columns]);
  if (residual) check(name, 'residual', residual, shape);
  const code = activationCode(name, activation);
  if (code !== 0 && residual)
    throw new ShapeError(
      'kernel-input-invalid',
      `${name}: expected an activation or a residual, got both; add the residual after the kernel.`,
    );
  const out = depth === 0 ? heap.zeros(shape) : heap.output(shape);
  const rows = sizeOf(x!.shape.slice(0, -1));
  if (rows * columns * depth === 0) return out;
  const panels = heap.panels(weight!, inputs, outputs, transposed === true);
  const scratch = heap.scratch(heap.kernels.multiplyScratch());
  heap.kernels.multiply(
    rows,
    columns,
    depth,
    heap.address(x!),
    panels,
    bias ? heap.address(bias) : 0,
    residual ? heap.address(residual) : 0,
    heap.address(out),
    code,
    scratch,
  );
  return out;
};

const layerNorm: Kernel = (heap, { x, weight, bias }, { eps }) => {
  const channels = x?.shape.at(-1) ?? -1;
  check('PvtLayerNorm', 'x', x, x?.shape.length ? x.shape : [-1]);
  check('PvtLayerNorm', 'weight', weight, [channels]);
  check('PvtLayerNorm', 'bias', bias, [channels]);
  const out = heap.output(x!.shape);
  const size = sizeOf(x!.shape);
  if (size > 0)
    heap.kernels.layerNorm(
      size / channels,
      channels,
      heap.address(x!),
      heap.address(weight!),
      heap.address(bias!),
      heap.address(out),
      eps as number,
    );
  return out;
};

const gelu: Kernel = (heap, { x }) => {
  check('PvtGelu', 'x', x, x?.shape ?? []);
  const out = heap.output(x!.shape);
  heap.kernels.gelu(sizeOf(x!.shape), heap.address(x!), heap.address(out));
  return out;
};

const attention: Kernel = (heap, { query, keyValue }, attrs) => {
  const name = 'PvtAttention';
  const heads = checkInteger(name, 'heads', attrs['heads'], 1);
  check(name, 'query', query, [-1, -1, -1]);
  const [batch, tokens, channels] = query!.shape as [number, number, number];
  check(name, 'keyValue', keyValue, [batch, -1, 2 * channels]);
  const keys = keyValue!.shape[1]!;
  if (channels % heads !== 0)
    throw new ShapeError(
      'kernel-input-invalid',
      `${name}: expected heads to divide ${channels} channels, got ${heads}; check the config.`,
    );
  const out = keys === 0 ? heap.zeros(query!.shape) : heap.output(query!.shape);
  if (batch * tokens * channels * keys === 0) return out;
  const scratch = heap.scratch(heap.kernels.attentionScratch(keys, channels / heads));
  const [from, source, to] = [heap.address(query!), heap.address(keyValue!), heap.address(out)];
  for (let index = 0; index < batch; index++) {
    const step = 4 * index * channels;
    heap.kernels.attention(
      tokens,
      keys,
      heads,
      channels / heads,
      from + step * tokens,
      source + 2 * step * keys,
      to + step * tokens,
      scratch,
    );
  }
  return out;
};

/** activation(depthwise 3x3 convolution of x with padding 1 + bias). */
const depthwise: Kernel = (heap, { x, filter, bias }, { activation }) => {
  const name = 'PvtDepthwise';
  check(name, 'x', x, [-1, -1, -1, -1]);
  const [batch, height, width, channels] = x!.shape as [number, number, number, number];
  check(name, 'filter', filter, [3, 3, channels, 1]);
  if (bias) check(name, 'bias', bias, [channels]);
  const code = activationCode(name, activation);
  const out = heap.output(x!.shape);
  if (sizeOf(x!.shape) === 0) return out;
  const scratch = heap.scratch(heap.kernels.depthwiseScratch(width));
  const step = 4 * height * width * channels;
  const [from, weights, shift, to] = [
    heap.address(x!),
    heap.address(filter!),
    bias ? heap.address(bias) : 0,
    heap.address(out),
  ];
  for (let index = 0; index < batch; index++)
    heap.kernels.depthwise(
      height,
      width,
      channels,
      0,
      height,
      from + index * step,
      weights,
      shift,
      to + index * step,
      code,
      scratch,
    );
  return out;
};

const convolution: Kernel = (heap, { x, filter, bias }, attrs) => {
  const name = 'PvtConvolution';
  check(name, 'x', x, [-1, -1, -1, -1]);
  check(name, 'filter', filter, [-1, filter?.shape[0] ?? -1, x!.shape[3]!, -1]);
  const [kernel, , channels, outputs] = filter!.shape as [number, number, number, number];
  if (bias) check(name, 'bias', bias, [outputs]);
  const { geometry, depth, outHeight, outWidth, stride, padding } = geometryOf(
    name,
    x!.shape,
    kernel,
    outputs,
    attrs,
  );
  const [batch, height, width] = x!.shape as [number, number, number];
  const shape = [batch, outHeight, outWidth, outputs];
  const out = depth === 0 ? heap.zeros(shape) : heap.output(shape);
  if (sizeOf(shape) * depth === 0) return out;
  const panels = heap.panels(filter!, depth, outputs);
  const [from, shift, to] = [heap.address(x!), bias ? heap.address(bias) : 0, heap.address(out)];
  if (kernel === 1 && stride === 1 && padding === 0) {
    heap.kernels.multiply(
      batch * height * width,
      outputs,
      depth,
      from,
      panels,
      shift,
      0,
      to,
      0,
      heap.scratch(heap.kernels.multiplyScratch()),
    );
    return out;
  }
  const scratch = heap.scratch(heap.kernels.convolutionScratch(depth));
  const [step, outStep] = [4 * height * width * channels, 4 * outHeight * outWidth * outputs];
  for (let index = 0; index < batch; index++)
    heap.kernels.convolution(...geometry, from + index * step, panels, shift, to + index * outStep, scratch);
  return out;
};

/** Kernels by the names under which the ops of `@pvt/core` look for them. */
export const forwardKernels: Readonly<Record<string, Kernel>> = {
  PvtLinear: linear,
  PvtLinearActivation: linear,
  PvtLayerNorm: layerNorm,
  PvtGelu: gelu,
  PvtAttention: attention,
  PvtDepthwise: depthwise,
  PvtConvolution: convolution,
};

/** Calls each kernel once, so that engines optimise them in the background while a model loads. */
export function warmUpKernels(heap: Heap): void {
  const inputs: TensorInfo[] = [];
  const zeros = (...shape: number[]): TensorInfo => {
    inputs.push(heap.zeros(shape));
    return inputs.at(-1)!;
  };
  const tokens = zeros(1, 256, 64);
  const map = zeros(1, 16, 16, 64);
  const [vector, square] = [zeros(64), zeros(64, 64)];
  const outputs = [
    linear(heap, { x: tokens, weight: square, bias: vector }, {}),
    layerNorm(heap, { x: tokens, weight: vector, bias: vector }, { eps: 1 }),
    attention(heap, { query: tokens, keyValue: zeros(1, 64, 128) }, { heads: 2 }),
    depthwise(heap, { x: map, filter: zeros(3, 3, 64, 1), bias: vector }, { activation: 'gelu' }),
    convolution(heap, { x: map, filter: zeros(3, 3, 64, 64), bias: vector }, { stride: 2, padding: 1 }),
  ];
  for (const { dataId } of [...inputs, ...outputs.flat()]) heap.backend.disposeData(dataId);
}
