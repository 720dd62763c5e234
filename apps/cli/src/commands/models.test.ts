import { expect, it } from 'vitest';
import { pvt } from '../fixtures/capture.ts';

it('lists every variant once, the embedded one marked', async () => {
  const { code, stdout, stderr } = await pvt('models');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout.match(/^pvt_\w+/gm)).toHaveLength(14);
  expect(stdout.match(/^.* embedded$/gm)).toEqual([expect.stringMatching(/^pvt_v2_nano /)]);
  expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
});

it('lists what a pattern matches', async () => {
  const { stdout } = await pvt('models', 'pvt_v2_b2*', '--json');
  // Parameters as the papers' code counts them, MACs as counted by hooks on it.
  expect(JSON.parse(stdout)).toEqual([
    {
      name: 'pvt_v2_b2',
      version: 'v2',
      params: 25_362_856,
      macs: expect.any(Number),
      size: [224, 224],
      classes: 1000,
      top1: 82,
      embedded: false,
    },
    {
      name: 'pvt_v2_b2_li',
      version: 'v2',
      params: 22_553_512,
      macs: expect.any(Number),
      size: [224, 224],
      classes: 1000,
      top1: 82.1,
      embedded: false,
    },
  ]);
});
