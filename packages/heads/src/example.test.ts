import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import * as layers from '@tensorflow/tfjs-layers';
import * as core from '@pvt/core';
import { useBackend } from '@pvt/testing';
import { beforeAll, expect, it } from 'vitest';

beforeAll(() => useBackend('wasm'));

it('the pyramid goes into somebody else’s head, as the readme shows in fewer than 20 lines', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, example = ''] = /## Somebody else's head[^]*?```js\n([^]*?)```/.exec(readme) ?? [];
  expect(example.split('\n').length).toBeLessThan(20);
  const code = example.replace(/^import .*$/gm, '');
  const { createPvt, pvtConfig, randomInit } = core;
  // `tf` of the whole package has both core and layers.
  const map = new Function('tf', 'createPvt', 'pvtConfig', 'randomInit', `${code}; return map;`)(
    { ...tf, ...layers },
    createPvt,
    pvtConfig,
    randomInit,
  ) as tf.Tensor;
  expect(map.shape).toEqual([1, 56, 56, 1]);
});
