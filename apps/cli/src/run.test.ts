import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };
import { folder, pvt, sample } from './fixtures/capture.ts';

const inFolder = folder();
writeFileSync(inFolder('text.json'), '{"hello": "world"}');
writeFileSync(inFolder('broken.json'), '{"version": ');
writeFileSync(inFolder('empty.safetensors'), '');
writeFileSync(inFolder('note.txt'), 'no image');

/** One sentence on one line, and nothing of the program's inside. */
function expectOneSentence(stderr: string): void {
  expect(stderr).toMatch(/^pvt: .+[.?]\n$/);
  expect(stderr.trimEnd().split('\n').length).toBe(1);
  expect(stderr).not.toMatch(/node_modules|\.[jt]s:\d/);
}

describe('wrong arguments', () => {
  it.each([
    ['sumary', 'did you mean summary?'],
    ['--nonsense', "unknown option '--nonsense'"],
    ['models a b', 'expected 1 argument but got 2'],
    ['models resnet50', 'resnet50'],
    ['summary', "missing required argument 'model'"],
    ['summary resnet50', '"resnet50"'],
    ['summary pvt_v2_b', 'did you mean pvt_v2_b0'],
    ['summary pvt_v2_b0 --size 224', 'HEIGHTxWIDTH'],
    ['summary pvt_v2_b0 --size 0x224', 'HEIGHTxWIDTH'],
    ['summary pvt_v2_b0 --size 99999x224', 'HEIGHTxWIDTH'],
    ['summary pvt_v2_b0 --size 8x8', 'use a larger image'],
    ['summary pvt_v2_b0 --siz 64x64', 'did you mean --size?'],
    ['summary pvt_v2_b0 --json --mermaid', '--json and --mermaid'],
    ['classify', "missing required argument 'input'"],
    ['classify x.png --model resnet50', '"resnet50"'],
    ['classify x.png --model pvt_v2_b0', '--weights FILE'],
    ['classify x.png --init 1', "unknown option '--init'"],
    ['classify x.png --top 0', 'whole number'],
    ['classify x.png --top 2.5', 'whole number'],
    ['classify x.png --backend webgpu', 'wasm, cpu'],
    ...['segment', 'detect'].flatMap((command) => [
      [command, "missing required argument 'input'"],
      [`${command} x.png --model pvt_v2_b0`, "unknown option '--model'"],
      [`${command} x.png --weights w.pth --score 1.5`, 'from 0 to 1'],
      [`${command} x.png --weights w.pth --score high`, 'from 0 to 1'],
      [`${command} x.png --weights w.pth --size 800`, 'HEIGHTxWIDTH'],
      [`${command} x.png --weights w.pth --out x.npz`, '.safetensors'],
      [`${command} x.png --weights w.pth --plot x.png`, 'x.png twice'],
      [`${command} x.png y.png --weights y-2.png --plot y.png`, 'y-2.png twice'],
    ]),
    ['segment x.png --weights w.pth --raw', "unknown option '--raw'"],
    ['detect x.png --weights w.pth --raw', '--out FILE.safetensors'],
    ['features', "missing required argument 'input'"],
    ['features x.png', '--model'],
    ['features x.png y.png --model pvt_v2_nano', 'expected 1 argument but got 2'],
    ['features x.png --init 1', '--model'],
    ['features x.png --model pvt_v2_b2', '--init SEED'],
    ['features x.png --model', "'--model <name>' argument missing"],
    ['features x.png --model pvt_v2_b0 --init seven', 'whole number'],
    [
      'features x.png --weights w.safetensors --init 1',
      "cannot be used with option '--weights <checkpoint>'",
    ],
    ['features x.png --model pvt_v2_nano --out x.npz', '.safetensors'],
    ['features x.png --model pvt_v2_nano --plot x.jpg', '.png'],
    ['features x.png --model pvt_v2_nano --plot x.png', 'x.png twice'],
    ['inspect', "missing required argument 'checkpoint'"],
    ['convert x.pth', "missing required argument 'out'"],
    ['convert x.pth y.pth', '.safetensors'],
    ['convert x.pth folder/', '--to hf or --to timm'],
    ['convert x.pth folder/ --to official', '--to hf or --to timm'],
    ['convert x.pth y.safetensors --to keras', 'official, timm, hf, canonical'],
    ['convert x.pth y.safetensors --dtype f64', 'f32, f16, bf16'],
    ['convert x.safetensors x.safetensors', 'x.safetensors twice'],
    ['cache clear a b', 'expected 1 argument but got 2'],
  ])('pvt %s', async (line, complaint) => {
    const { code, stdout, stderr } = await pvt(...line.split(' '));
    expect(stderr).toContain(complaint);
    expectOneSentence(stderr);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('shows the help on stderr where no command is named', async () => {
    const { code, stdout, stderr } = await pvt();
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Usage: pvt');
  });
});

describe('work that fails', () => {
  it.each([
    ['an image that is not there', ['features', 'nowhere.png', '--model', 'pvt_v2_nano'], 'nowhere.png'],
    ['a folder for an image', ['features', inFolder(''), '--model', 'pvt_v2_nano'], 'directory'],
    ['a text for an image', ['features', inFolder('note.txt'), '--model', 'pvt_v2_nano'], 'note.txt'],
    ['an empty tensor file', ['features', inFolder('empty.safetensors'), '--model', 'pvt_v2_nano'], 'empty'],
    ['weights that are not there', ['features', sample, '--weights', 'nowhere.safetensors'], 'nothing there'],
    ['JSON for weights', ['features', sample, '--weights', inFolder('text.json')], 'safetensors'],
    ['a folder of a broken checkpoint', ['features', sample, '--weights', inFolder('')], 'empty.safetensors'],
    [
      'a config cut short',
      ['features', sample, '--model', 'pvt_v2_nano', '--config', inFolder('broken.json')],
      'JSON',
    ],
    [
      'a config with a strange field',
      ['features', sample, '--model', 'pvt_v2_nano', '--config', inFolder('text.json')],
      'PvtConfig.hello',
    ],
    [
      'a config without a version',
      ['features', sample, '--init', '1', '--config', inFolder('text.json')],
      'PvtConfig.version',
    ],
    [
      'a folder that is not there',
      ['features', sample, '--model', 'pvt_v2_nano', '--out', inFolder('missing/x.safetensors')],
      'create it first',
    ],
    [
      'a file for a folder',
      ['features', sample, '--model', 'pvt_v2_nano', '--plot', inFolder('note.txt/x.png')],
      'create it first',
    ],
    ['labels that are not there', ['classify', sample, '--labels', 'nowhere.txt'], 'nothing there'],
    ['one label for ten classes', ['classify', sample, '--labels', inFolder('note.txt')], '10 names'],
  ])('%s', async (_, argv, complaint) => {
    const { code, stdout, stderr } = await pvt(...argv);
    expect(stderr).toContain(complaint);
    expectOneSentence(stderr);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });
});

describe('help', () => {
  it('prints the version', async () => {
    expect(await pvt('--version')).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' });
  });

  it.each([
    ['--help'],
    ['help'],
    ['help', 'features'],
    ['models', '--help'],
    ['summary', '--help'],
    ['features', '--help'],
    ['classify', '-h'],
    ['segment', '--help'],
    ['detect', '--help'],
    ['inspect', '--help'],
    ['convert', '--help'],
    ['cache', '--help'],
    ['cache', 'list', '--help'],
    ['cache', 'clear', '--help'],
  ])('%s %s', async (...argv) => {
    const { code, stdout, stderr } = await pvt(...argv);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: pvt/);
    expect(stdout).toContain('Examples:');
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
  });
});
