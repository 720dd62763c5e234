import { expect, test } from 'vitest';
import { pictureFrom } from './pictureFrom.ts';

test('outside a browser the error names readPicture', async () => {
  await expect(pictureFrom({} as ImageBitmapSource)).rejects.toMatchObject({
    code: 'browser-missing',
    message: expect.stringContaining('readPicture'),
  });
});
