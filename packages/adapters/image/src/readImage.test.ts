import { expect, test } from 'vitest';
import { readImage } from './readImage.ts';

test('outside a browser the error names readImage', async () => {
  await expect(readImage({} as ImageBitmapSource)).rejects.toMatchObject({
    code: 'browser-missing',
    message: expect.stringContaining('readImage'),
  });
});
