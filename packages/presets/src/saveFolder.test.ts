import { mkdtemp, readdir, readFile, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { saveFolder } from './saveFolder.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pvt-save-'));
});
afterEach(() => rm(folder, { recursive: true }));

const files = new Map([
  ['config.json', Uint8Array.of(1)],
  ['model.safetensors', Uint8Array.of(2, 3)],
]);

it('makes the folder, replaces files of the same names, and leaves the others', async () => {
  const target = join(folder, 'new', 'model');
  await saveFolder(target, files);
  await writeFile(join(target, 'README.md'), 'mine');
  await saveFolder(target, new Map([['config.json', Uint8Array.of(9)]]));
  expect((await readdir(target)).sort()).toEqual(['README.md', 'config.json', 'model.safetensors']);
  expect([...(await readFile(join(target, 'config.json')))]).toEqual([9]);
  expect([...(await readFile(join(target, 'model.safetensors')))]).toEqual([2, 3]);
});

it('leaves nothing behind where it cannot write', async () => {
  await mkdir(join(folder, 'model.safetensors', 'in the way'), { recursive: true });
  await expect(
    saveFolder(
      folder,
      new Map([
        ['model.safetensors', Uint8Array.of(1)],
        ['config.json', Uint8Array.of(1)],
      ]),
    ),
  ).rejects.toThrow(expect.objectContaining({ syscall: 'rename' }));
  expect(await readdir(folder)).toEqual(['model.safetensors']);
});

it.each(['../config.json', '/etc/passwd', 'a\\b', '..', ''])(
  'refuses the name %j before it writes',
  async (name) => {
    await expect(saveFolder(folder, new Map([...files, [name, Uint8Array.of(1)]]))).rejects.toThrow(
      expect.objectContaining({ code: 'file-name' }),
    );
    expect(await readdir(folder)).toEqual([]);
  },
);
