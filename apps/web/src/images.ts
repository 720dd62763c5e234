/** Scales a bitmap by a factor below 1 and closes the original; otherwise returns it unchanged. */
export async function scaleDown(bitmap: ImageBitmap, scale: number): Promise<ImageBitmap> {
  if (scale >= 1) return bitmap;
  const smaller = await createImageBitmap(bitmap, {
    resizeWidth: Math.max(1, Math.round(bitmap.width * scale)),
    resizeHeight: Math.max(1, Math.round(bitmap.height * scale)),
    resizeQuality: 'high',
  });
  bitmap.close();
  return smaller;
}
