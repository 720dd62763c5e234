import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodePng } from '@pvt/adapter-image/node';
import { checkpoints } from '@pvt/checkpoints';
import { expectNoLeak, useBackend } from '@pvt/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createClassifier } from './index.ts';

let folder: string;
beforeAll(async () => {
  await useBackend('wasm');
  folder = await mkdtemp(join(tmpdir(), 'pvt-tasks-'));
});
afterAll(() => rm(folder, { recursive: true }));

it('takes paths, URLs, bytes and pixels alike', async () => {
  const image = {
    width: 40,
    height: 32,
    data: Uint8Array.from({ length: 40 * 32 * 3 }, (_, i) => (i * 37) % 256),
  };
  const png = await encodePng(image);
  const path = join(folder, 'noise.png');
  await writeFile(path, png);
  await expectNoLeak(async () => {
    const classifier = await createClassifier(checkpoints['pvt_v2_nano.cifar10'].url, { top: 2 });
    const [fromPath, fromBytes, fromPixels] = await classifier.classify([path, png, image]);
    expect(fromPath).toHaveLength(2);
    expect(fromBytes).toEqual(fromPath);
    expect(fromPixels).toEqual(fromPath);
    await expect(classifier.classify(join(folder, 'none.png'))).rejects.toThrow(
      expect.objectContaining({ code: 'image-missing' }),
    );
    classifier.dispose();
  });
});
