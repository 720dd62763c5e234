import * as tf from '@tensorflow/tfjs-core';
import {
  BackendError,
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
import { expectClose, expectGradient, expectNoLeak, useBackend, useGradients } from '@pvt/testing';
import * as fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { generate } from '../../compile.mjs';
import { kernelsBinary } from '../generated/kernelsBinary.ts';
import { runnerBinary } from '../generated/runnerBinary.ts';
import { registerWasmKernels, unregisterWasmKernels } from '../index.ts';

beforeAll(async () => {
  await useGradients();
  await useBackend('wasm');
});
beforeEach(registerWasmKernels);
afterEach(unregisterWasmKernels);

/** What the tests use of tfjs's wasm backend, whose type tfjs does not export. */
const wasmBackend = () =>
  tf.backend() as unknown as {
    readonly wasm: {
      _malloc(bytes: number): number;
      _free(address: number): void;
      readonly HEAPU8: Uint8Array;
      asm: { readonly memory: WebAssembly.Memory };
    };
  };

const noise = (shape: number[], seed = 1) => tf.randomNormal(shape, 0, 1, 'float32', seed);
type Op = (...inputs: tf.Tensor[]) => tf.Tensor;

/** An op over inputs of some shapes. */
interface Case {
  readonly name: string;
  readonly op: Op;
  readonly shapes: number[][];
}

const linearCase = (
  rows: number[],
  inputs: number,
  outputs: number,
  extra: { bias?: boolean; residual?: boolean; activation?: 'gelu' | 'relu' } = {},
): Case => {
  const { bias = true, residual = false, activation } = extra;
  return {
    name: [
      `linear [${rows}, ${inputs}] to ${outputs}`,
      bias ? '' : ' without bias',
      residual ? ' with residual' : '',
      activation ? ` and ${activation}` : '',
    ].join(''),
    shapes: [
      [...rows, inputs],
      [inputs, outputs],
      ...(bias ? [[outputs]] : []),
      ...(residual ? [[...rows, outputs]] : []),
    ],
    op: (x, weight, ...rest) =>
      linear(
        x!,
        { weight: weight as tf.Tensor2D, ...(bias && { bias: rest[0] as tf.Tensor1D }) },
        { ...(residual && { residual: rest.at(-1)! }), ...(activation && { activation }) },
      ),
  };
};
const normCase = (rows: number[], channels: number): Case => ({
  name: `layerNorm [${rows}, ${channels}]`,
  shapes: [[...rows, channels], [channels], [channels]],
  op: (x, weight, bias) => layerNorm(x!, weight as tf.Tensor1D, bias as tf.Tensor1D, 1e-6),
});
const geluCase = (shape: number[]): Case => ({
  name: `gelu [${shape}]`,
  shapes: [shape],
  op: (x) => gelu(x!),
});
const attentionCase = (batch: number, tokens: number, keys: number, heads: number, width: number): Case => ({
  name: `attention [${batch}, ${tokens}, ${heads}·${width}] to ${keys} keys`,
  shapes: [
    [batch, tokens, heads * width],
    [batch, keys, 2 * heads * width],
  ],
  op: (query, keyValue) => multiHeadAttention(query as tf.Tensor3D, keyValue as tf.Tensor3D, heads).tokens,
});
const depthwiseCase = (shape: [number, number, number, number], activation?: 'gelu' | 'relu'): Case => ({
  name: `depthwise [${shape}]${activation ? ` and ${activation}` : ''}`,
  shapes: [shape, [3, 3, shape[3], 1], [shape[3]]],
  op: (x, weight, bias) =>
    depthwise(x as tf.Tensor4D, { weight: weight as tf.Tensor4D, bias: bias as tf.Tensor1D }, 1, activation),
});
const convolutionCase = (
  shape: [number, number, number, number],
  outputs: number,
  kernel: number,
  stride: number,
  padding: number,
  bias = true,
): Case => ({
  name: `convolution [${shape}] to ${outputs}, kernel ${kernel}, stride ${stride}, padding ${padding}`,
  shapes: [shape, [kernel, kernel, shape[3], outputs], ...(bias ? [[outputs]] : [])],
  op: (x, weight, bias) =>
    convolution(
      x as tf.Tensor4D,
      { weight: weight as tf.Tensor4D, ...(bias && { bias: bias as tf.Tensor1D }) },
      stride,
      padding,
    ),
});

const cases: Case[] = [
  linearCase([2, 49], 32, 64),
  linearCase([3], 7, 10, { bias: false }),
  linearCase([1, 5], 1, 1),
  linearCase([2, 9], 12, 20, { residual: true }),
  linearCase([2, 9], 12, 21, { residual: true, bias: false }),
  linearCase([4, 33], 16, 24, { activation: 'gelu' }),
  linearCase([33], 16, 23, { activation: 'relu' }),
  linearCase([300], 1030, 16),
  linearCase([0], 8, 8),
  normCase([2, 5], 32),
  normCase([7], 1),
  normCase([300], 37),
  normCase([0, 3], 8),
  geluCase([3, 5, 7]),
  geluCase([0]),
  attentionCase(2, 49, 49, 2, 32),
  attentionCase(1, 1, 1, 1, 1),
  attentionCase(2, 70, 13, 3, 5),
  attentionCase(1, 9, 300, 1, 12),
  attentionCase(0, 4, 4, 2, 8),
  depthwiseCase([2, 7, 7, 16], 'gelu'),
  depthwiseCase([1, 1, 1, 4]),
  depthwiseCase([2, 5, 4, 6], 'relu'),
  depthwiseCase([1, 1, 9, 3], 'gelu'),
  depthwiseCase([0, 4, 4, 8]),
  convolutionCase([2, 13, 18, 3], 8, 7, 4, 3),
  convolutionCase([1, 7, 6, 5], 5, 3, 2, 1),
  convolutionCase([2, 8, 8, 4], 8, 4, 4, 0, false),
  convolutionCase([1, 11, 9, 4], 3, 4, 4, 0),
  convolutionCase([1, 3, 4, 8], 8, 1, 1, 0),
  convolutionCase([1, 4, 5, 8], 9, 3, 1, 1),
  convolutionCase([1, 2, 2, 3], 4, 7, 4, 3),
  convolutionCase([0, 8, 8, 3], 4, 3, 2, 1),
];

const inputsOf = ({ shapes }: Case, seed = 1) =>
  shapes.map((shape, i) =>
    tf.tidy(() => tf.mul(noise(shape, 10 * seed + i), shape.length === 2 ? 1 / Math.sqrt(shape[0]! + 1) : 1)),
  );

/** Largest difference, relative to the largest value if that is above 1. */
function differences(found: readonly tf.Tensor[], expected: readonly tf.Tensor[]): number {
  let largest = 0;
  for (const [i, tensor] of found.entries()) {
    expect(tensor.shape).toEqual(expected[i]!.shape);
    const [a, b] = [tensor.dataSync<'float32'>(), expected[i]!.dataSync<'float32'>()];
    const scale = b.reduce((top, value) => Math.max(top, Math.abs(value)), 1);
    for (const [k, value] of a.entries()) {
      const difference = Math.abs(value - b[k]!) / scale;
      if (!(difference <= largest)) largest = Number.isNaN(difference) ? Infinity : difference;
    }
  }
  return largest;
}

/** The op's value and, for a random gradient of it, the gradients of its inputs. */
function valueAndGradients({ op }: Case, inputs: tf.Tensor[]): tf.Tensor[] {
  const value = op(...inputs);
  const gradient = noise(value.shape, 99);
  const gradients = tf.grads((...given) => op(...given))(inputs, gradient);
  gradient.dispose();
  return [value, ...gradients];
}

async function comparison(some: Case, seed?: number): Promise<number> {
  tf.engine().startScope();
  const inputs = inputsOf(some, seed);
  const fused = valueAndGradients(some, inputs);
  unregisterWasmKernels();
  const portable = valueAndGradients(some, inputs);
  await registerWasmKernels();
  const largest = differences(fused, portable);
  tf.engine().endScope();
  return largest;
}

describe('kernels', () => {
  it.each(
    cases
      .filter(({ shapes }) => shapes.every((shape) => !shape.includes(0)))
      .map((some) => [some.name, some] as const),
  )('%s: values and gradients of the portable path', async (_, some) => {
    expect(await comparison(some)).toBeLessThanOrEqual(5e-6);
  });

  it.each(
    cases
      .filter(({ shapes }) => shapes.some((shape) => shape.includes(0)))
      .map((some) => [some.name, some] as const),
  )('%s: nothing in, nothing out', (_, some) => {
    tf.tidy(() => {
      const inputs = inputsOf(some);
      const [value, ...gradients] = valueAndGradients(some, inputs);
      expect(value!.size).toBe(0);
      expect(gradients.map(({ shape }) => shape)).toEqual(some.shapes);
    });
  });

  it.each(
    [
      linearCase([2, 5], 6, 9),
      normCase([2, 5], 8),
      geluCase([3, 5, 7]),
      attentionCase(2, 5, 4, 3, 2),
      depthwiseCase([2, 5, 4, 6], 'gelu'),
      convolutionCase([2, 7, 6, 3], 5, 3, 2, 1),
    ].map((some) => [some.name, some] as const),
  )('%s has the gradient of its values', (_, some) => expectGradient(some.op, inputsOf(some)));

  it('gelu is x·Φ(x) far from 0 too, and keeps NaN', async () => {
    await expectClose(
      gelu(tf.tensor1d([-6, -3, -0.5, 0, 0.5, 3, 6])),
      [-5.9e-9, -0.004049694, -0.1542687694, 0, 0.3457312306, 2.995950306, 6],
      1e-6,
    );
    await expectClose(gelu(tf.tensor1d([-1e30, -100, 100, 1e30])), [0, 0, 100, Math.fround(1e30)], 0);
    expect(Number.isNaN(gelu(tf.tensor1d([NaN])).dataSync()[0]!)).toBe(true);
  });

  it('attention is exact for large scores', async () => {
    const query = tf.tensor3d([1000, 0], [1, 1, 2]);
    const keyValue = tf.tensor3d([1000, 0, 5, 6, 999, 0, 7, 8], [1, 2, 4]);
    await expectClose(multiHeadAttention(query, keyValue, 1).tokens, [5, 6], 0);
  });

  it('any shape gives the values and gradients of the portable path', async () => {
    const side = fc.integer({ min: 1, max: 9 });
    const any = fc.oneof(
      fc
        .tuple(
          side,
          side,
          fc.integer({ min: 1, max: 40 }),
          fc.integer({ min: 1, max: 40 }),
          fc.boolean(),
          fc.boolean(),
        )
        .map(([a, b, inputs, outputs, bias, residual]) =>
          linearCase([a, b], inputs, outputs, { bias, residual }),
        ),
      fc
        .tuple(side, side, fc.constantFrom('gelu', 'relu', undefined))
        .chain(([height, width, activation]) =>
          fc
            .integer({ min: 1, max: 21 })
            .map((channels) => depthwiseCase([2, height, width, channels], activation)),
        ),
      fc
        .tuple(side, side, fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 4 }), side)
        .map(([batch, tokens, keys, heads, width]) => attentionCase(batch, tokens, keys, heads, width)),
      fc.tuple(side, fc.integer({ min: 1, max: 70 })).map(([rows, channels]) => normCase([rows], channels)),
      fc
        .tuple(
          side,
          side,
          side,
          fc.integer({ min: 1, max: 12 }),
          fc.integer({ min: 1, max: 5 }),
          fc.integer({ min: 1, max: 4 }),
          fc.integer({ min: 0, max: 3 }),
        )
        .filter(
          ([height, width, , , kernel, , padding]) =>
            Math.min(height, width) + 2 * padding >= kernel && padding < kernel,
        )
        .map(([height, width, channels, outputs, kernel, stride, padding]) =>
          convolutionCase([2, height, width, channels], outputs, kernel, stride, padding),
        ),
    );
    await fc.assert(
      fc.asyncProperty(any, fc.integer({ min: 1, max: 1000 }), async (some, seed) => {
        expect(await comparison(some, seed)).toBeLessThanOrEqual(1e-5);
      }),
      { numRuns: 150, seed: 1 },
    );
  });
});

describe('whole backbones', () => {
  const shape = { dims: [16, 24, 40, 64], depths: [1, 2, 1, 1], heads: [1, 2, 5, 8] };

  it.each([
    ['v1', { version: 'v1', ...shape, imageSize: [96, 64] }],
    ['v2', { version: 'v2', ...shape }],
    ['v2, linear', { version: 'v2', ...shape, linear: true }],
  ] as const)('%s: the pyramid of the portable path, at odd sizes too', async (_, config) => {
    const model = createPvt(pvtConfig(config), randomInit(1));
    for (const [batch, height, width] of [
      [2, 96, 64],
      [1, 101, 75],
      [3, 64, 160],
    ] as const) {
      tf.engine().startScope();
      const input = noise([batch, height, width, 3]) as tf.Tensor4D;
      const all = () => {
        const { pyramid, embedding } = model.forward(input);
        return [...pyramid.map(({ tensor }) => tensor), embedding];
      };
      await registerWasmKernels();
      const fused = all();
      unregisterWasmKernels();
      expect(differences(fused, all())).toBeLessThanOrEqual(5e-6);
      tf.engine().endScope();
    }
    model.dispose();
  });
});

describe('around the kernels', () => {
  it('the generated files are current', async () => {
    for (const [path, contents] of Object.entries(await generate()))
      expect(
        readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8') === contents,
        `${path}: run \`npx pnpm --filter @pvt/adapter-wasm compile\` after a change`,
      ).toBe(true);
  });

  it('the binaries are small and put nothing into the memory by themselves', () => {
    const bytes = Uint8Array.from(atob(kernelsBinary), (character) => character.charCodeAt(0));
    expect(gzipSync(bytes).length + gzipSync(Buffer.from(runnerBinary, 'base64')).length).toBeLessThan(
      40_000,
    );
    const module = new WebAssembly.Module(bytes);
    expect(WebAssembly.Module.imports(module)).toEqual([{ module: 'env', name: 'memory', kind: 'memory' }]);
    const memory = new WebAssembly.Memory({ initial: 1 });
    const before = new Uint8Array(memory.buffer).fill(170).slice();
    expect(Object.keys(new WebAssembly.Instance(module, { env: { memory } }).exports)).toContain('multiply');
    expect(new Uint8Array(memory.buffer)).toEqual(before);
  });

  it('the forward and backward of every kernel write to their outputs alone', async () => {
    const { wasm } = wasmBackend();
    const allocate = wasm['_malloc'];
    const guard = 64;
    const fences: { start: number; bytes: number }[] = [];
    // Every block of memory gets a fence of known bytes on either side, and starts as NaN.
    vi.spyOn(wasm, '_malloc').mockImplementation((bytes) => {
      const start = allocate(bytes + 2 * guard) + guard;
      wasm.HEAPU8.fill(0xa5, start - guard, start + bytes + guard);
      wasm.HEAPU8.fill(0xff, start, start + bytes);
      fences.push({ start, bytes });
      return start;
    });
    vi.spyOn(wasm, '_free').mockImplementation(() => undefined);
    unregisterWasmKernels();
    await registerWasmKernels();
    for (const some of cases) {
      tf.engine().startScope();
      const inputs = inputsOf(some);
      const before = inputs.map((tensor) => tensor.dataSync());
      for (const tensor of valueAndGradients(some, inputs))
        expect(tensor.dataSync().every(Number.isFinite), `${some.name} leaves nothing unwritten`).toBe(true);
      expect(inputs.map((tensor) => tensor.dataSync())).toEqual(before);
      tf.engine().endScope();
    }
    const broken = fences.filter(({ start, bytes }) => {
      const around = [
        ...wasm.HEAPU8.subarray(start - guard, start),
        ...wasm.HEAPU8.subarray(start + bytes, start + bytes + guard),
      ];
      return around.some((byte) => byte !== 0xa5);
    });
    expect(broken).toEqual([]);
    expect(fences.length).toBeGreaterThan(cases.length);
    vi.restoreAllMocks();
    unregisterWasmKernels();
  });

  it('survive a growth of the memory, with weights packed before', async () => {
    const some = linearCase([2, 49], 32, 64);
    const inputs = inputsOf(some);
    const before = (await some.op(...inputs).data()).slice();
    const { memory } = wasmBackend().wasm.asm;
    const size = memory.buffer.byteLength;
    const large = tf.zeros([size / 4]);
    expect(memory.buffer.byteLength).toBeGreaterThan(size);
    await expectClose(some.op(...inputs), before, 0);
    large.dispose();
  });

  it('notice a changed weight and free one that is gone', async () => {
    const x = noise([3, 4]);
    const weight = tf.variable(noise([4, 8], 2)) as tf.Tensor as tf.Variable & tf.Tensor2D;
    const first = linear(x, { weight });
    weight.assign(tf.mul(weight, 2));
    await expectClose(linear(x, { weight }), await tf.mul(first, 2).data(), 1e-6);

    const { wasm } = wasmBackend();
    const wide = () =>
      tf.tidy(() => void linear(tf.ones([1, 512]), { weight: tf.ones([512, 1024]) as tf.Tensor2D }));
    for (let i = 0; i < 10; i++) wide();
    const settled = wasm.asm.memory.buffer.byteLength;
    for (let i = 0; i < 200; i++) wide();
    expect(wasm.asm.memory.buffer.byteLength).toBe(settled);
  });

  it('leave no tensor behind', () =>
    expectNoLeak(() => {
      for (const some of cases) {
        const inputs = inputsOf(some);
        tf.dispose([...valueAndGradients(some, inputs), ...inputs]);
      }
    }));

  it.each<[string, Record<string, number[]>, tf.NamedAttrMap, RegExp]>([
    [
      'PvtLinear',
      { x: [2, 3], weight: [4, 5] },
      {},
      /PvtLinear: expected x to be float32 \[2,4\], got float32 \[2,3\]/,
    ],
    ['PvtLinear', { x: [2, 4], weight: [4, 5], bias: [4] }, {}, /expected bias to be float32 \[5\]/],
    ['PvtLinear', { x: [2, 4], weight: [4, 5], residual: [1, 5] }, {}, /expected residual/],
    [
      'PvtLinearActivation',
      { x: [2, 4], weight: [4, 5], bias: [5] },
      { activation: 'silu' },
      /activation among none, relu, gelu, got silu/,
    ],
    ['PvtLayerNorm', { x: [2, 4], weight: [4], bias: [3] }, { eps: 1e-6 }, /expected bias/],
    ['PvtAttention', { query: [1, 2, 6], keyValue: [1, 2, 6] }, { heads: 1 }, /expected keyValue/],
    ['PvtAttention', { query: [1, 2, 6], keyValue: [1, 2, 12] }, { heads: 4 }, /heads to divide 6/],
    [
      'PvtAttention',
      { query: [1, 2, 6], keyValue: [1, 2, 12] },
      { heads: 0 },
      /heads to be an integer of at least 1/,
    ],
    ['PvtDepthwise', { x: [1, 2, 2, 4], filter: [5, 5, 4, 1], bias: [4] }, {}, /expected filter/],
    [
      'PvtConvolution',
      { x: [1, 2, 2, 4], filter: [3, 3, 5, 2] },
      { stride: 1, padding: 1 },
      /expected filter/,
    ],
    ['PvtConvolution', { x: [1, 2, 2, 4], filter: [1, 1, 4, 2] }, { stride: 0, padding: 0 }, /stride/],
    [
      'PvtConvolutionInputGradient',
      { dy: [1, 9, 9, 2], filter: [3, 3, 4, 2] },
      { stride: 1, padding: 1, height: 2, width: 2 },
      /expected dy/,
    ],
    [
      'PvtConvolutionFilterGradient',
      { x: [1, 2, 2, 4], dy: [1, 3, 2, 4] },
      { stride: 1, padding: 1, kernel: 3 },
      /expected dy/,
    ],
    ['PvtDepthwiseFilterGradient', { x: [1, 2, 2, 4], dy: [1, 2, 3, 4] }, {}, /expected dy/],
    ['PvtLinearWeightGradient', { x: [3, 4], dy: [2, 4] }, {}, /expected dy/],
    [
      'PvtAttentionGradient',
      { query: [1, 2, 4], keyValue: [1, 2, 8], dy: [1, 1, 4] },
      { heads: 1 },
      /expected dy/,
    ],
  ])('%s refuses tensors that it would read past (%#)', (kernel, shapes, attrs, message) => {
    const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, tf.zeros(shape)]));
    const call = () => tf.engine().runKernel(kernel, inputs, attrs);
    expect(call).toThrow(message);
    expect(call).toThrow(ShapeError);
  });

  it('refuse integers, whose bits mean something else', () => {
    expect(() => gelu(tf.tensor1d([1, 2], 'int32'))).toThrow(
      /PvtGelu: expected x to be float32 \[2\], got int32 \[2\]/,
    );
  });

  it('reject and register nothing if the memory is out of reach', async () => {
    unregisterWasmKernels();
    const backend = wasmBackend();
    const { asm } = backend.wasm;
    backend.wasm.asm = { memory: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }) };
    await expect(registerWasmKernels()).rejects.toThrow(BackendError);
    await expect(registerWasmKernels()).rejects.toThrow(/threaded build/);
    backend.wasm.asm = asm;
    expect(gelu(tf.tensor1d([0])).dataSync()[0]).toBe(0);
  });
});
