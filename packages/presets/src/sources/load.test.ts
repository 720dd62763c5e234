import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { leavesOf, pvtConfig, randomInit, type PvtConfigInput } from '@pvt/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { checkpointSpec, getModel, readCheckpoint, savePretrained, type Checkpoint } from '../index.ts';
import { folderCache, loadCheckpoint, saveFolder } from '../node.ts';
import { hub, serve, type TestServer } from './fixtures/server.ts';

const config = pvtConfig<PvtConfigInput>({
  version: 'v2',
  dims: [16, 32, 40, 64],
  depths: [1, 1, 1, 1],
  classes: 3,
});
const labels = ['ant', 'bee', 'cat'];
const preprocessing = getModel('pvt_v2_b0').preprocessing.huggingFace;
const source = randomInit(5);

let folder: string;
let files: ReadonlyMap<string, Uint8Array>;
let server: TestServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pvt-load-'));
  files = savePretrained(
    { config, source, labels, preprocessing },
    { layout: 'huggingFace', epsilon: 'layout' },
  );
  server = await serve(
    hub(
      'me/mine',
      Object.fromEntries(
        Array.from(files, ([name, content]) => [name, { content, large: name.endsWith('.safetensors') }]),
      ),
    ),
  );
  await saveFolder(join(folder, 'mine'), files);
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const options = () => ({ endpoint: server.url, cache: folderCache(join(folder, 'cache')) });
const sameBits = (checkpoint: Checkpoint): boolean =>
  [...leavesOf(checkpointSpec(config))].every(
    ([path, leaf]) =>
      Buffer.compare(bytesOf(checkpoint.source.values(path, leaf)), bytesOf(source.values(path, leaf))) === 0,
  );
const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

it.each([
  ['a hub repository', () => loadCheckpoint('me/mine', options())],
  ['the cache', () => loadCheckpoint('me/mine', { ...options(), offline: true })],
  ['a folder', () => loadCheckpoint(join(folder, 'mine'))],
] as const)('comes with config, preprocessing and labels from %s', async (_what, load) => {
  const checkpoint = await load();
  expect(checkpoint.config).toMatchObject({
    version: 'v2',
    dims: config.dims,
    depths: config.depths,
    classes: 3,
  });
  expect(checkpoint).toMatchObject({ format: 'safetensors', naming: 'huggingFace', labels, preprocessing });
  expect(sameBits(checkpoint)).toBe(true);
});

it.each([
  ['a file', async () => loadCheckpoint(join(folder, 'mine', 'model.safetensors'))],
  [
    'a URL',
    async () =>
      loadCheckpoint(new URL(`${server.url}/me/mine/resolve/main/model.safetensors`), { cache: false }),
  ],
  [
    'a Blob',
    async () => loadCheckpoint(new Blob([await readFile(join(folder, 'mine', 'model.safetensors'))])),
  ],
  ['bytes', async () => loadCheckpoint(await readFile(join(folder, 'mine', 'model.safetensors')))],
] as const)('is the same from %s', async (_what, load) => {
  const checkpoint = await load();
  expect(sameBits(checkpoint)).toBe(true);
  expect(checkpoint.config).toEqual(readCheckpoint(files.get('model.safetensors')!).config);
});

it('takes the options of reading', async () => {
  expect((await loadCheckpoint('me/mine', { ...options(), classes: 0 })).config.classes).toBe(0);
});
