import * as tf from '@tensorflow/tfjs-core';
import { createPvt, pvtConfig, randomInit } from '@pvt/core';
import { expectClose, useBackend } from '@pvt/testing';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { registerWasmKernels, unregisterWasmKernels } from '../index.ts';
import { createRunner } from './index.ts';

const isolated = globalThis.crossOriginIsolated;
const model = () =>
  createPvt(pvtConfig({ version: 'v2', dims: [32, 64, 160, 256], depths: [1, 1, 1, 1] }), randomInit(1));
const image = () => tf.randomNormal([1, 96, 128, 3], 0, 1, 'float32', 1) as tf.Tensor4D;

describe(`in a page that is ${isolated ? '' : 'not '}cross-origin isolated`, () => {
  beforeAll(() => useBackend('wasm'));

  const threads = isolated ? 'the threads that it is asked for' : 'one thread and says why';
  it(`a runner has ${threads}, and leaves the page responsive`, async () => {
    const backbone = model();
    const forward = (input: tf.Tensor4D) => backbone.forward(input).embedding;
    const input = image();
    const runner = await createRunner(forward, { threads: 2 });
    expect(runner.threads).toBe(isolated ? 2 : 1);
    expect(runner.limitation ?? 'none').toMatch(isolated ? 'none' : /Cross-Origin-Opener-Policy/);
    const waiting = { pending: true };
    let turns = 0;
    const runs = Promise.all(Array.from({ length: 5 }, () => runner.run(input))).finally(
      () => (waiting.pending = false),
    );
    while (waiting.pending) {
      await new Promise((resolve) => setTimeout(resolve));
      turns++;
    }
    expect(turns).toBeGreaterThan(5);
    for (const found of await runs) await expectClose(found, await forward(input).data(), 1e-5);
    runner.dispose();
    backbone.dispose();
  });

  it('a runner uses the calling thread if there are no workers, and says so', async () => {
    vi.stubGlobal('Worker', undefined);
    const runner = await createRunner((x: tf.Tensor2D) => tf.relu(x), { threads: 4 });
    expect(runner.threads).toBe(1);
    expect(runner.limitation).toMatch(/no workers here/);
    await expectClose(await runner.run(tf.tensor2d([1, -2], [1, 2])), [1, 0], 0);
    runner.dispose();
    vi.unstubAllGlobals();
  });

  const outcome = isolated
    ? 'say that its threaded build is out of reach, and layers work without them'
    : 'give what the portable path gives';
  it(`the kernels in tfjs's heap ${outcome}`, async () => {
    const backbone = model();
    const input = image();
    const portable = await backbone.forward(input).embedding.data();
    const threaded = await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT');
    expect(threaded).toBe(isolated);
    if (isolated) await expect(registerWasmKernels()).rejects.toThrow(/threaded build/);
    else await registerWasmKernels();
    await expectClose(backbone.forward(input).embedding, portable, 5e-6);
    unregisterWasmKernels();
    backbone.dispose();
  });
});
