import { expect, test } from 'vitest';
import { imageFrom } from './imageFrom.ts';

test('outside a browser the error names readImage', async () => {
  await expect(imageFrom({} as ImageBitmapSource)).rejects.toMatchObject({
    code: 'browser-missing',
    message: expect.stringContaining('readImage'),
  });
});
