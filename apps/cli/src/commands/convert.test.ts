import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { leavesOf } from '@pvt/core';
import {
  checkpointSpec,
  fromFloat32,
  parseSafetensors,
  readCheckpoint,
  toFloat32,
  writeSafetensors,
} from '@pvt/presets';
import { beforeAll, describe, expect, it } from 'vitest';
import { folder, pvt } from '../fixtures/capture.ts';
import { tinyConfig, tinySource, writeTinyWeights } from '../fixtures/tinyModel.ts';

const inFolder = folder();
const weights = inFolder('tiny.safetensors');
const config = inFolder('tiny.json');

beforeAll(() => {
  writeTinyWeights(weights);
  writeFileSync(config, JSON.stringify(tinyConfig));
});

const done = async (...argv: string[]) => {
  const { code, stdout, stderr } = await pvt(...argv);
  expect({ code, errors: stderr.match(/^pvt: .*/gm) }).toEqual({ code: 0, errors: null });
  return stdout;
};

describe('pvt convert', () => {
  it('loses no bit on the way through all names', async () => {
    const names = ['official', 'timm', 'hf', 'canonical', 'official'];
    const paths = [weights, ...names.map((name, step) => inFolder(`${step}-${name}.safetensors`))];
    for (const [step, name] of names.entries()) {
      await done('convert', paths[step]!, paths[step + 1]!, '--to', name);
      expect(readCheckpoint(readFileSync(paths[step + 1]!)).naming).toBe(
        name === 'hf' ? 'huggingFace' : name,
      );
    }
    expect(readFileSync(paths[5]!).equals(readFileSync(paths[1]!))).toBe(true);
    const { source } = readCheckpoint(readFileSync(paths[5]!), { config: tinyConfig });
    for (const [path, leaf] of leavesOf(checkpointSpec(tinyConfig)))
      expect(source.values(path, leaf)).toEqual(tinySource.values(path, leaf));
  });

  it.each([
    ['hf', ['config.json', 'model.safetensors', 'preprocessor_config.json'], 'huggingFace'],
    ['timm', ['config.json', 'model.safetensors'], 'timm'],
  ])('writes the folder of %s', async (to, files, naming) => {
    const out = inFolder(`folder-${to}/`);
    await done('convert', weights, out, '--to', to, '--config', config, '--dtype', 'bf16');
    expect(readdirSync(out).sort()).toEqual(files);
    const found = JSON.parse(await done('inspect', out, '--json')) as {
      naming: string;
      config: unknown;
      tensors: { dtype: string }[];
    };
    expect(found).toMatchObject({
      naming,
      config: { dims: tinyConfig.dims, heads: tinyConfig.heads, classes: 3 },
    });
    expect(new Set(found.tensors.map(({ dtype }) => dtype))).toEqual(new Set(['BF16']));
  });

  it('keeps the names where none are asked for, and stores halves', async () => {
    const out = inFolder('half.safetensors');
    const answer = JSON.parse(await done('convert', weights, out, '--dtype', 'f16', '--json')) as {
      written: { naming: string; bytes: number };
    };
    expect(answer.written).toMatchObject({
      naming: 'canonical',
      dtype: 'f16',
      bytes: readFileSync(out).length,
    });
    const before = parseSafetensors(readFileSync(weights)).tensors;
    for (const [name, entry] of parseSafetensors(readFileSync(out)).tensors) {
      expect(entry.dtype).toBe('F16');
      // Half of the last of eleven bits, and of the smallest number there is.
      const values = toFloat32(before.get(name)!);
      for (const [index, value] of toFloat32(entry).entries())
        expect(Math.abs(value - values[index]!)).toBeLessThanOrEqual(
          Math.max(Math.abs(values[index]!) * 2 ** -11, 2 ** -25),
        );
    }
  });

  it('writes over no input, whatever it is called', async () => {
    const linked = inFolder('linked.safetensors');
    symlinkSync(weights, linked);
    const before = readFileSync(weights);
    for (const out of [weights, `${inFolder('')}/./tiny.safetensors`, linked])
      expect((await pvt('convert', weights, out)).stderr).toContain('choose another name');
    const mine = inFolder('mine');
    await done('convert', weights, mine, '--to', 'hf', '--config', config);
    const held = readFileSync(`${mine}/model.safetensors`);
    expect((await pvt('convert', mine, `${mine}/`, '--to', 'hf')).code).toBe(2);
    expect((await pvt('convert', mine, `${mine}/model.safetensors`, '--to', 'timm')).code).toBe(2);
    expect(
      (await pvt('convert', `${mine}/model.safetensors`, mine, '--to', 'timm', '--config', config)).code,
    ).toBe(2);
    expect(readFileSync(weights).equals(before)).toBe(true);
    expect(readFileSync(`${mine}/model.safetensors`).equals(held)).toBe(true);
    expect(readdirSync(mine)).toHaveLength(3);
  });

  it('drops tensors outside of the model only with --drop', async () => {
    const more = inFolder('more.safetensors');
    const tensors = Array.from(
      parseSafetensors(readFileSync(weights)).tensors,
      ([name, entry]) => [name, fromFloat32(toFloat32(entry), entry.shape)] as const,
    );
    writeFileSync(more, writeSafetensors([...tensors, ['neck.weight', fromFloat32([1], [1])]]));
    const out = inFolder('less.safetensors');
    expect(await pvt('convert', more, out)).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/neck\.weight; leave them out with --drop\.\n$/),
    });
    await done('convert', more, out, '--drop');
    expect(readCheckpoint(readFileSync(out)).unexpected).toEqual([]);
  });
});

describe('pvt inspect', () => {
  it('says what a checkpoint is', async () => {
    const stdout = await done('inspect', weights, '--tensors');
    expect(stdout).toMatch(
      /^file +tiny\.safetensors, \d+ bytes\nformat +safetensors\nnames +canonical, PVT v2\n/,
    );
    expect(stdout).toContain('head.weight F32 [3, 32]');
  });

  it.each([
    ['empty', new Uint8Array(0), 'an empty file', false],
    ['a page', Buffer.from('<!DOCTYPE html><html></html>'), 'a web page', false],
    ['cut off', () => readFileSync(weights).subarray(0, 5000), 'cut', false],
    ['another model', writeSafetensors([['conv1.weight', fromFloat32([1], [1])]]), 'conv1.weight', true],
    [
      'not a number',
      () => Buffer.concat([readFileSync(weights).subarray(0, -4), Buffer.from([0, 0, 0xc0, 0x7f])]),
      'NaN',
      true,
    ],
  ] as const)('says what is wrong: %s', async (name, content, complaint, readable) => {
    const path = inFolder(`${name}.pth`);
    writeFileSync(path, typeof content === 'function' ? content() : content);
    const { code, stdout, stderr } = await pvt('inspect', path);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^pvt: .+[.?]\n$/);
    expect(stderr).toContain(complaint);
    expect(stdout !== '').toBe(readable);
    const { findings } = JSON.parse((await pvt('inspect', path, '--json')).stdout) as {
      findings: { message: string }[];
    };
    expect(findings[0]!.message).toContain(complaint);
  });

  it('does not read an empty folder', async () => {
    mkdirSync(inFolder('empty'));
    expect(await pvt('inspect', inFolder('empty'))).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('weights'),
    });
  });
});
