import * as tf from '@tensorflow/tfjs-core';
import {
  BackendError,
  ConfigError,
  convolution,
  createPvt,
  depthwise,
  DisposedError,
  gelu,
  layerNorm,
  linear,
  multiHeadAttention,
  pvtConfig,
  randomInit,
  ShapeError,
} from '@pvt/core';
import { record } from '@pvt/graph';
import { expectClose, expectNoLeak, useBackend } from '@pvt/testing';
import * as fc from 'fast-check';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { callWords } from '../generated/calls.ts';
import { kernelsBinary } from '../generated/kernelsBinary.ts';
import { runnerBinary } from '../generated/runnerBinary.ts';
import { compileBinary } from '../module.ts';
import { Allocator } from './allocator.ts';
import { encode } from './encode.ts';
import { createRunner, type WeightFormat } from './index.node.ts';
import { lower } from './lower.ts';
import { Packer } from './packer.ts';
import { planMemory, type MemoryPlan } from './plan.ts';
import { nodePlatform } from './platform.node.ts';
import type { FixedSource, Program } from './program.ts';
import { ThreadPool } from './threads.ts';

beforeAll(() => useBackend('wasm'));
afterEach(() => void vi.unstubAllGlobals());

const noise = (shape: number[], seed = 1) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const image = (height: number, width: number, batch = 1) => noise([batch, height, width, 3]) as tf.Tensor4D;
const small = { dims: [16, 24, 40, 64], depths: [1, 2, 1, 1], heads: [1, 2, 5, 8] };
const v2 = () => createPvt(pvtConfig({ version: 'v2', ...small }), randomInit(1));

async function inRunner<I, O>(
  forward: (input: I) => O,
  input: I,
  options: { threads?: number; weights?: WeightFormat } = {},
): Promise<O> {
  const runner = await createRunner(forward, options);
  try {
    return await runner.run(input);
  } finally {
    runner.dispose();
  }
}

const side = fc.integer({ min: 1, max: 9 });
const wide = fc.integer({ min: 1, max: 70 });
/** The shape of an input, and a layer. */
type Case = readonly [number[], (x: tf.Tensor) => tf.Tensor];
const anyLayer: fc.Arbitrary<Case> = fc.oneof(
  fc.tuple(side, wide, wide, wide).map(([a, b, inputs, outputs]): Case => [
    [a, b, inputs],
    (x) =>
      linear(x, {
        weight: noise([inputs, outputs], 2) as tf.Tensor2D,
        bias: noise([outputs], 3) as tf.Tensor1D,
      }),
  ]),
  fc.tuple(side, side, side, wide, wide).map(([batch, height, width, channels, outputs]): Case => {
    // A depthwise convolution alone, or with the product that is fused with it.
    const convolve = (x: tf.Tensor) =>
      depthwise(
        x as tf.Tensor4D,
        {
          weight: noise([3, 3, channels, 1], 2) as tf.Tensor4D,
          bias: noise([channels], 3) as tf.Tensor1D,
        },
        1,
        'gelu',
      );
    const multiply = (x: tf.Tensor, residual: tf.Tensor) =>
      linear(
        tf.reshape(x, [batch, height * width, channels]),
        { weight: noise([channels, outputs], 4) as tf.Tensor2D },
        { residual },
      );
    return [
      [batch, height, width, channels],
      (x) =>
        outputs % 3 === 0 ? convolve(x) : multiply(convolve(x), noise([batch, height * width, outputs], 5)),
    ];
  }),
  fc
    .tuple(side, wide, wide, fc.integer({ min: 1, max: 4 }), side)
    .map(([batch, tokens, keys, heads, width]): Case => [
      [batch, tokens, heads * width],
      (x) =>
        multiHeadAttention(x as tf.Tensor3D, noise([batch, keys, 2 * heads * width], 2) as tf.Tensor3D, heads)
          .tokens,
    ]),
  fc
    .tuple(side, wide)
    .map(([rows, channels]): Case => [
      [rows, channels],
      (x) =>
        gelu(layerNorm(x, noise([channels], 2) as tf.Tensor1D, noise([channels], 3) as tf.Tensor1D, 1e-6)),
    ]),
  fc
    .tuple(
      side,
      side,
      side,
      side,
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 3 }),
    )
    .filter(
      ([height, width, , , kernel, , padding]) =>
        Math.min(height, width) + 2 * padding >= kernel && padding < kernel,
    )
    .map(([height, width, channels, outputs, kernel, stride, padding]): Case => [
      [2, height, width, channels],
      (x) =>
        convolution(
          x as tf.Tensor4D,
          { weight: noise([kernel, kernel, channels, outputs], 2) as tf.Tensor4D },
          stride,
          padding,
        ),
    ]),
  fc
    .tuple(side, side, side)
    .map(([batch, tokens, channels]): Case => [
      [batch, tokens, channels],
      (x) => tf.sub(tf.softmax(tf.mean(x, 1)), tf.sigmoid(tf.mul(2, tf.mean(x, 1, false)))),
    ]),
);

/** A memory in which every block lies by itself between guard bytes, and everything is NaN at first. */
function layOutWithGuards({ blocks, calls }: Program, { scratchBytes }: MemoryPlan) {
  const guard = 256;
  let end = 4096;
  const allocate = (bytes: number): number => {
    const start = end;
    end += Math.ceil(bytes / 16) * 16 + guard;
    return start;
  };
  const layout = {
    addresses: blocks.map(({ bytes }) => allocate(bytes)),
    scratch: allocate(scratchBytes),
    calls: allocate(4 * callWords * calls.length),
  };
  const pages = Math.ceil((end + guard) / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
  const bytes = new Uint8Array(memory.buffer);
  bytes.fill(0xff);
  // The words of the barrier.
  bytes.fill(0, 1024, 1088);
  return { ...layout, memory, bytes };
}

function writeSources(
  { blocks }: Program,
  { addresses, memory, bytes }: ReturnType<typeof layOutWithGuards>,
  packer: Packer,
  input: tf.Tensor,
): void {
  const valuesOf = (source: FixedSource) =>
    source.kind === 'constant' ? source.data : source.tensor.dataSync<'float32'>();
  const write = (address: number, values: Float32Array) =>
    new Float32Array(memory.buffer, address, values.length).set(values);
  for (const [i, { source }] of blocks.entries()) {
    if (source === undefined) continue;
    if (source.kind === 'input') write(addresses[i]!, input.dataSync<'float32'>());
    else if (source.kind === 'panels') {
      const { weight, inputs, outputs } = source;
      bytes.set(packer.pack(valuesOf(weight), inputs, outputs, 'float32').bytes, addresses[i]!);
    } else write(addresses[i]!, valuesOf(source));
  }
}

describe('a runner', () => {
  it.each([
    ['v1', pvtConfig({ version: 'v1', ...small, imageSize: [96, 64] })],
    ['v2, linear', pvtConfig({ version: 'v2', ...small, linear: true })],
    ['v2 with SiLU', pvtConfig({ version: 'v2', ...small, activation: 'silu' })],
    ['v2 with the other GELU', pvtConfig({ version: 'v2', ...small, activation: 'gelu_tanh' })],
  ])(
    '%s: gives what the forward gives, all outputs, at odd sizes, for one shape after the other',
    async (_, config) => {
      const model = createPvt(config, randomInit(1));
      const forward = (input: tf.Tensor4D) => model.forward(input, { attentions: true, tokens: true });
      const runner = await createRunner(forward, { threads: 3 });
      expect([runner.threads, runner.limitation]).toEqual([3, undefined]);
      for (const [batch, height, width] of [
        [2, 96, 64],
        [1, 101, 75],
        [2, 96, 64],
        [3, 64, 160],
      ] as const) {
        const input = image(height, width, batch);
        const [found, expected] = [await runner.run(input), forward(input)];
        expect(found.pyramid.map(({ name, stride, tensor }) => [name, stride, tensor.shape])).toEqual(
          expected.pyramid.map(({ name, stride, tensor }) => [name, stride, tensor.shape]),
        );
        for (const [i, { tensor }] of expected.pyramid.entries())
          await expectClose(found.pyramid[i]!.tensor, await tensor.data(), 1e-5);
        await expectClose(found.embedding, await expected.embedding.data(), 1e-5);
        for (const [i, map] of expected.attentions.flat().entries())
          await expectClose(found.attentions.flat()[i]!, await map.data(), 5e-6);
      }
      runner.dispose();
      model.dispose();
    },
  );

  it('any layer of any shape gives the same on any number of threads', async () => {
    await fc.assert(
      fc.asyncProperty(anyLayer, fc.integer({ min: 1, max: 4 }), async ([shape, op], threads) => {
        const x = noise(shape, 9);
        const [found, expected] = [await inRunner(op, x, { threads }), op(x)];
        expect(found.shape).toEqual(expected.shape);
        const values = await expected.data<'float32'>();
        await expectClose(
          found,
          values,
          1e-5 * values.reduce((top, value) => Math.max(top, Math.abs(value)), 1),
        );
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  it('accepts empty batches', async () => {
    const found = await inRunner(
      (x: tf.Tensor3D) => linear(x, { weight: noise([4, 8]) as tf.Tensor2D }),
      tf.zeros([0, 3, 4]) as tf.Tensor3D,
    );
    expect(found.shape).toEqual([0, 3, 8]);
  });

  it('accepts and returns structures, also with constants and inputs as outputs', async () => {
    const fixed = tf.tensor1d([1, 2]);
    const found = await inRunner(
      ({ a, b, scale }: { a: tf.Tensor; b: tf.Tensor[]; scale: number }) => ({
        sum: tf.add(a, tf.mul(b[0]!, scale)),
        same: a,
        fixed,
        list: [b[1]!, 'text', null],
      }),
      {
        a: tf.tensor1d([1, 2]),
        b: [tf.tensor1d([10, 20]), tf.tensor1d([5])],
        scale: 3,
      },
    );
    expect(found.sum.arraySync()).toEqual([31, 62]);
    expect([found.same.arraySync(), found.fixed.arraySync()]).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect([(found.list[0] as tf.Tensor).arraySync(), ...found.list.slice(1)]).toEqual([[5], 'text', null]);
  });

  it('writes to its own blocks alone, and reads nothing that was not written', async () => {
    const packer = new Packer(await compileBinary(kernelsBinary, 'test'));
    const module = await compileBinary(runnerBinary, 'test');
    for (const config of [
      pvtConfig({ version: 'v1', ...small, imageSize: [45, 59] }),
      pvtConfig({ version: 'v2', ...small }),
      pvtConfig({ version: 'v2', ...small, linear: true }),
    ]) {
      const model = createPvt(config, randomInit(1));
      const input = image(67, 93, 2);
      const graph = record((x: tf.Tensor4D) => model.forward(x).embedding, input);
      const program = lower(graph, packer.sizes);
      const plan = planMemory(program, packer.sizes);
      const guarded = layOutWithGuards(program, plan);
      const { memory, bytes, addresses, scratch, calls } = guarded;
      writeSources(program, guarded, packer, input);
      const { run } = new WebAssembly.Instance(module, { env: { memory } }).exports as {
        run: (...numbers: number[]) => void;
      };
      const before = bytes.slice();
      for (const part of [plan.setup, plan.calls]) {
        const encoded = encode(
          part,
          2,
          (block) => addresses[block]!,
          () => 'float32',
        );
        before.set(encoded, calls);
        bytes.set(encoded, calls);
        run(calls, part.length, 0, 1, scratch, 1024);
      }
      const allowed = new Uint8Array(bytes.length);
      for (const [i, { bytes: size, source }] of program.blocks.entries())
        if (source === undefined) allowed.fill(1, addresses[i]!, addresses[i]! + size);
      allowed
        .fill(1, scratch, scratch + plan.scratchBytes)
        .fill(1, calls, calls + 4 * callWords * program.calls.length);
      expect(bytes.findIndex((byte, i) => allowed[i] === 0 && byte !== before[i])).toBe(-1);
      const { address } = program.outputs[0]!;
      expect(address.offset).toBe(0);
      await expectClose(
        new Float32Array(memory.buffer, addresses[address.block]!, 128),
        await model.forward(input).embedding.data(),
        1e-5,
      );
      model.dispose();
    }
  });

  it('leaves no tensor behind except its results, and borrows its input until the call returns', async () => {
    const model = v2();
    const runner = await createRunner((x: tf.Tensor4D) => model.forward(x).embedding);
    const expected = tf.tidy(() => model.forward(image(64, 64)).embedding.dataSync());
    await expectNoLeak(async () => {
      const input = image(64, 64);
      const pending = runner.run(input);
      input.dispose();
      const found = await pending;
      await expectClose(found, expected, 1e-5);
      found.dispose();
    });
    runner.dispose();
    model.dispose();
  });

  it('runs calls in order, and prepares again for shapes that it has dropped', async () => {
    const scale = noise([5]);
    const runner = await createRunner((x: tf.Tensor2D) => tf.mul(tf.add(x, 1), scale), { threads: 2 });
    const shapes = Array.from({ length: 12 }, (_, i) => [i + 1, 5] as [number, number]);
    const results = await Promise.all([...shapes, ...shapes].map((shape) => runner.run(tf.ones(shape))));
    for (const [i, found] of results.entries()) {
      expect(found.shape).toEqual(shapes[i % 12]);
      await expectClose(found, await tf.mul(tf.fill(shapes[i % 12]!, 2), scale).data(), 0);
    }
    const settled = runner.bytes;
    for (let round = 0; round < 3; round++)
      for (const shape of shapes) (await runner.run(tf.ones(shape))).dispose();
    expect(runner.bytes).toBe(settled);
    runner.dispose();
  });

  it('grows for larger images and keeps its weights', async () => {
    const model = v2();
    const runner = await createRunner((x: tf.Tensor4D) => model.forward(x).embedding, { threads: 2 });
    const [few, many] = [image(64, 64), image(512, 512)];
    const before = await runner.run(few);
    const { bytes } = runner;
    await expectClose(await runner.run(many), await model.forward(many).embedding.data(), 1e-5);
    expect(runner.bytes).toBeGreaterThan(bytes);
    await expectClose(await runner.run(few), await before.data(), 0);
    runner.dispose();
    model.dispose();
  });

  it('has the weights of its first use', async () => {
    const weight = tf.variable(noise([4, 8])) as tf.Tensor as tf.Variable & tf.Tensor2D;
    const runner = await createRunner((x: tf.Tensor2D) => linear(x, { weight }));
    const x = noise([3, 4]) as tf.Tensor2D;
    const before = await (await runner.run(x)).data();
    weight.assign(tf.mul(weight, 2));
    await expectClose(await runner.run(x), before, 0);
    runner.dispose();
  });
});

describe('weights of a runner', () => {
  const forward = (weight: tf.Tensor2D) => (x: tf.Tensor2D) => linear(x, { weight });

  it('in float16 give the same bits in half of the memory if they are float16 numbers', async () => {
    // Signs, zeros, the smallest subnormal number and the largest number.
    const halves = [
      0,
      -0,
      2 ** -24,
      -(2 ** -24),
      1023 * 2 ** -24,
      2 ** -14,
      -1.5,
      65504,
      -65504,
      ...Array.from({ length: 700 * 33 - 9 }, (_, i) => Math.round(Math.sin(i) * 2048) / 4096),
    ];
    const weight = tf.tensor2d(halves, [700, 33]);
    const x = noise([70, 700]) as tf.Tensor2D;
    const [half, full] = [
      await createRunner(forward(weight), { weights: 'float16' }),
      await createRunner(forward(weight)),
    ];
    await expectClose(await half.run(x), await (await full.run(x)).data(), 0);
    expect(full.bytes - half.bytes).toBeGreaterThan(700 * 40 * 2 - 128);
    half.dispose();
    full.dispose();
  });

  it('stay float32 if float16 would lose something', async () => {
    const weight = tf.tensor2d([1 + 2 ** -12, 1e-9, 70000, 1, 2, 3, 4, 5], [2, 4]);
    const x = tf.tensor2d([1, 1], [1, 2]);
    await expectClose(
      await inRunner(forward(weight), x, { weights: 'float16' }),
      await tf.matMul(x, weight).data(),
      0,
    );
  });

  it('in int8 are off by no more than rounding allows', async () => {
    for (const [rows, depth, columns] of [
      [70, 700, 33],
      [1, 1, 1],
      [5, 7, 9],
      [64, 513, 8],
      [3, 1030, 17],
    ] as const) {
      const [x, weight] = [noise([rows, depth], 1) as tf.Tensor2D, noise([depth, columns], 2) as tf.Tensor2D];
      const found = await (await inRunner(forward(weight), x, { weights: 'int8' })).data();
      const exact = await tf.matMul(x, weight).data();
      // Half a unit of each factor times the other: Σ |x| · unit/2 of the column, Σ |w| · unit/2 of the row.
      const [sumX, sumW] = [await tf.sum(tf.abs(x), 1).data(), await tf.sum(tf.abs(weight), 0).data()];
      const [topX, topW] = [await tf.max(tf.abs(x), 1).data(), await tf.max(tf.abs(weight), 0).data()];
      const beyond = found.findIndex((value, i) => {
        const [row, column] = [Math.floor(i / columns), i % columns];
        const bound = (sumX[row]! * topW[column]!) / 254 + (sumW[column]! * topX[row]!) / 65534 + 1e-4;
        return !(Math.abs(value - exact[i]!) <= 1.01 * bound);
      });
      expect(beyond).toBe(-1);
    }
  });

  it('in int8 preserve rows and columns of zeros, and NaN', async () => {
    const weight = tf.tensor2d([0, 1, 0, -2, 0, 3], [3, 2]);
    const x = tf.tensor2d([0, 0, 0, 1, 1, NaN, 1, 1, 1], [3, 3]);
    const found = await (await inRunner(forward(weight), x, { weights: 'int8' })).data();
    expect(Array.from(found.subarray(0, 2))).toEqual([0, 0]);
    expect([found[2], found[3]]).toEqual([NaN, NaN]);
    expect(found[4]).toBe(0);
    expect(found[5]).toBeCloseTo(2, 1);
  });

  it('in int8 take about a quarter of the memory', async () => {
    const model = createPvt(
      pvtConfig({ version: 'v2', dims: [64, 128, 320, 512], depths: [1, 1, 1, 1] }),
      randomInit(1),
    );
    const forward = (x: tf.Tensor4D) => model.forward(x).embedding;
    const input = image(32 * 8, 32 * 8);
    const bytes: number[] = [];
    for (const weights of ['float32', 'int8'] as const) {
      const runner = await createRunner(forward, { weights });
      const found = await (await runner.run(input)).data();
      const expected = await model.forward(input).embedding.data();
      const top = Math.max(...Array.from(expected, Math.abs));
      await expectClose(found, expected, weights === 'int8' ? 0.1 * top : 1e-5);
      bytes.push(runner.bytes);
      runner.dispose();
    }
    expect(bytes[0]! - bytes[1]!).toBeGreaterThan(20e6);
    model.dispose();
  });
});

describe('a runner', () => {
  it.each([0, 1.5, 65, NaN])('refuses %d threads', (threads) =>
    expect(createRunner((x: tf.Tensor) => x, { threads })).rejects.toThrow(ConfigError),
  );
  it('refuses unknown formats of weights', () =>
    expect(createRunner((x: tf.Tensor) => x, { weights: 'int4' as 'int8' })).rejects.toThrow(
      /float32, float16, int8, got int4/,
    ));

  it.each<[string, (x: tf.Tensor) => unknown, RegExp, new (...args: never[]) => Error]>([
    [
      'an operation that it does not support',
      (x) => tf.cumsum(x),
      /expected operations among Add, .* and the layers of @pvt\/core, got Cumsum/,
      BackendError,
    ],
    [
      'values read in the forward',
      (x) => tf.mul(x, x.dataSync()[0]!),
      /does not read values of tensors/,
      BackendError,
    ],
    ['integers', (x) => tf.add(x, tf.tensor1d([1], 'int32')), /float32/, ShapeError],
    [
      'no tensors in the output',
      () => Promise.resolve(tf.scalar(1)),
      /returns tensors, in arrays and objects/,
      ConfigError,
    ],
    [
      'weights that depend on the input',
      (x) => linear(x, { weight: x as tf.Tensor2D }),
      /does not depend on the input/,
      ShapeError,
    ],
    [
      'shapes of which none repeats over the other',
      (x) => tf.add(x, tf.zeros([2, 1])),
      /one repeats over the other/,
      ShapeError,
    ],
  ])('refuses %s, and leaves everything as it was', async (_, forward, message, type) => {
    const runner = await createRunner(forward);
    const x = noise([2, 2]);
    const before = tf.memory().numTensors;
    const failure = await runner.run(x).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(type);
    expect((failure as Error).message).toMatch(message);
    expect([tf.getBackend(), tf.memory().numTensors]).toEqual(['wasm', before]);
    runner.dispose();
  });

  it.each([1, 2])(
    'rejects what does not fit into memory (%d threads), and continues with what does',
    async (threads) => {
      const scale = noise([5]);
      const runner = await createRunner((x: tf.Tensor2D) => tf.mul(tf.mul(x, 2), scale), { threads });
      const x = noise([3, 5]) as tf.Tensor2D;
      const expected = await tf.mul(tf.mul(x, 2), scale).data();
      await expectClose(await runner.run(x), expected, 0);
      // Two blocks of 2.4 GB exceed the address space; the stand-in for the input takes no memory itself.
      const huge = tf
        .engine()
        .makeTensorFromTensorInfo({ dataId: {}, shape: [120_000_000, 5], dtype: 'float32' }) as tf.Tensor2D;
      vi.spyOn(huge, 'data').mockResolvedValue(new Float32Array(0));
      await expect(runner.run(huge)).rejects.toThrow(
        expect.objectContaining({ code: 'wasm-memory-exhausted' }),
      );
      expect(runner.bytes).toBeLessThan(1e6);
      await expectClose(await runner.run(x), expected, 0);
      await expectClose(
        await runner.run(noise([70, 5], 3) as tf.Tensor2D),
        await tf.mul(tf.mul(noise([70, 5], 3), 2), scale).data(),
        0,
      );
      runner.dispose();
    },
  );

  it('refuses integers as inputs', async () => {
    const runner = await createRunner((x: tf.Tensor) => tf.relu(x));
    await expect(runner.run(tf.tensor1d([1, 2], 'int32'))).rejects.toThrow(
      /expected float32 tensors, got int32/,
    );
    runner.dispose();
  });

  it('rejects after dispose, pending runs included', async () => {
    const model = v2();
    const runner = await createRunner((x: tf.Tensor4D) => model.forward(x).embedding);
    const x = image(64, 64);
    const pending = [runner.run(x), runner.run(x)].map((run) => run.catch((error: unknown) => error));
    runner.dispose();
    runner.dispose();
    for (const failure of await Promise.all(pending)) expect(failure).toBeInstanceOf(DisposedError);
    await expect(runner.run(x)).rejects.toThrow(DisposedError);
    model.dispose();
  });

  it('uses one thread if memory cannot be shared, and says so', async () => {
    vi.stubGlobal('SharedArrayBuffer', undefined);
    const x = noise([3, 4]) as tf.Tensor2D;
    const runner = await createRunner((y: tf.Tensor2D) => tf.relu(y), { threads: 4 });
    expect(runner.threads).toBe(1);
    expect(runner.limitation).toMatch(/not cross-origin isolated/);
    await expectClose(await runner.run(x), await tf.relu(x).data(), 0);
    runner.dispose();
  });
});

describe('threads', () => {
  it('all have the memory before the first request: engines announce its growth to those alone', async () => {
    const post = Worker.prototype.postMessage;
    let late = 0;
    vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (
      this: Worker,
      message: unknown,
      transfer,
    ) {
      if ((message as { thread?: number }).thread !== 1) return post.call(this, message, transfer);
      late++;
      setTimeout(() => post.call(this, message, transfer), 150);
    });
    const weight = noise([64, 64]) as tf.Tensor2D;
    const x = noise([20_000, 64], 2) as tf.Tensor2D;
    const found = await inRunner((y: tf.Tensor2D) => linear(y, { weight }), x, { threads: 3 });
    await expectClose(found, await tf.matMul(x, weight).data(), 1e-4);
    expect(late).toBe(1);
    vi.restoreAllMocks();
  });

  it('that fail reject pending and future requests', async () => {
    const module = await compileBinary(runnerBinary, 'test');
    const threads = await ThreadPool.start(nodePlatform, module, 3, 1024);
    const request = (operation: number) => ({
      memoryBytes: 65536,
      writes: [[4096, new Uint8Array(Int32Array.of(operation, 1, 1, 0).buffer)]] as const,
      calls: 4096,
      count: 1,
      scratch: 8192,
      scratchBytes: 0,
      reads: [],
    });
    const [first, second] = await Promise.allSettled([threads.send(request(99)), threads.send(request(0))]);
    for (const { reason } of [first, second] as PromiseRejectedResult[])
      expect(reason).toMatchObject({
        code: 'worker-failed',
        message: expect.stringContaining('unreachable'),
      });
    await expect(threads.send(request(0))).rejects.toThrow(BackendError);
  });
});

describe('an allocator', () => {
  it('never allocates the same bytes twice, and frees all of them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 5000 }), fc.boolean(), fc.nat()), { maxLength: 60 }),
        (steps) => {
          const allocator = new Allocator(128);
          const allocated: [number, number][] = [];
          for (const [bytes, release, which] of steps) {
            if (release && allocated.length > 0) {
              allocator.free(allocated.splice(which % allocated.length, 1)[0]![0]);
              continue;
            }
            const start = allocator.allocate(bytes);
            expect(start % 64).toBe(0);
            expect(allocated.every(([other, size]) => start + bytes <= other || other + size <= start)).toBe(
              true,
            );
            expect(start).toBeGreaterThanOrEqual(128);
            expect(start + bytes).toBeLessThanOrEqual(allocator.end);
            allocated.push([start, bytes]);
          }
          expect(allocator.peak).toBeGreaterThanOrEqual(allocator.end);
          for (const [start] of allocated) allocator.free(start);
          expect([allocator.end, allocator.allocate(1)]).toEqual([128, 128]);
        },
      ),
    );
  });
});
