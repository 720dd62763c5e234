import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { readCheckpoint } from '@pvt/presets';
import { describe, expect, it } from 'vitest';
import { microscopy } from './index.ts';

describe.each(Object.entries(microscopy))('%s', (_name, { url, bytes, sha256, model, labels }) => {
  it('is the file that its digest says, of at most 4 MB', async () => {
    const file = await readFile(url);
    expect(file.length).toBe(bytes);
    expect(file.length).toBeLessThanOrEqual(4e6);
    expect(createHash('sha256').update(file).digest('hex')).toBe(sha256);
  });

  it('holds the variant that it names in float16, with its classes', async () => {
    const checkpoint = readCheckpoint(await readFile(url));
    expect(checkpoint).toMatchObject({ model, naming: 'official', nonFinite: [] });
    expect(JSON.parse(checkpoint.metadata.get('labels')!)).toEqual(labels);
  });
});
