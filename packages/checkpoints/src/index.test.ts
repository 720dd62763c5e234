import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { checkCompatibility, checkpointSpec, readCheckpoint } from '@pvt/presets';
import { describe, expect, it } from 'vitest';
import { checkpoints } from './index.ts';

describe.each(Object.entries(checkpoints))(
  '%s',
  (_name, { url, bytes, sha256, model, labels, preprocessing }) => {
    it('is the file that its digest says', async () => {
      const file = await readFile(url);
      expect(file.length).toBe(bytes);
      expect(createHash('sha256').update(file).digest('hex')).toBe(sha256);
    });

    it('fills the variant that it names, and carries its labels and preprocessing', async () => {
      const checkpoint = readCheckpoint(await readFile(url));
      expect(checkpoint).toMatchObject({ model, naming: 'official', assumed: [], preprocessing });
      expect(checkpoint.config.classes).toBe(labels.length);
      expect(checkCompatibility(checkpointSpec(checkpoint.config), checkpoint)).toMatchObject({
        adapted: [],
        missing: [],
        unexpected: [],
        mismatched: [],
      });
      expect(JSON.parse(checkpoint.metadata.get('labels')!)).toEqual(labels);
      expect(JSON.parse(checkpoint.metadata.get('preprocessing')!)).toEqual(preprocessing);
    });
  },
);
