import { cost, pvtConfig, type Cost } from '@pvt/core';
import { getModel } from '@pvt/presets';
import { expect, it } from 'vitest';
import { pvt } from '../fixtures/capture.ts';

const b0 = pvtConfig(getModel('pvt_v2_b0').config);

it('prints the costs as JSON', async () => {
  const { code, stdout } = await pvt('summary', 'pvt_v2_b0', '--size', '480x640', '--json');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual(cost(b0, [480, 640]));
});

it('shows every layer of a stage once, within a terminal', async () => {
  const { code, stdout, stderr } = await pvt('summary', 'pvt_v2_b4');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain('62,556,072');
  expect(stdout.match(/attn\.scores/g)).toHaveLength(4);
  expect(stdout).toContain('blocks.0 to blocks.26, each');
  expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
});

it('lists one block for all only if they cost the same', async () => {
  for (const model of ['pvt_small', 'pvt_v2_b2_li']) {
    const { stdout } = await pvt('summary', model, '--size', '96x160', '--json');
    const { layers } = JSON.parse(stdout) as Cost;
    for (const { path, ...layer } of layers.filter((each) => each.path.includes('.blocks.'))) {
      const first = layers.find((other) => other.path === path.replace(/blocks\.\d+/, 'blocks.0'));
      expect({ ...first, path }).toEqual({ ...layer, path });
    }
  }
});

it('draws a flowchart from the image to the logits', async () => {
  const { stdout } = await pvt('summary', 'pvt_tiny', '--mermaid');
  expect(stdout.split('\n').slice(0, 4)).toEqual([
    '---',
    expect.stringMatching(/^title: pvt_tiny/),
    '---',
    'flowchart TD',
  ]);
  expect(stdout).toContain('input --> stage1 --> stage2 --> stage3 --> stage4 --> embedding --> logits');
  // One class token in front of 7x7 tokens.
  expect(stdout).toContain('50 tokens, 50 K/V');
});
