import { Activation, WeightFormat } from './generated/calls';
import { multiply, multiplyScratch, multiplyTransposed } from './product';

/** Output pixels in one block: about 128 KB of patches, and enough rows to make use of each panel. */
function patchesPerBlock(depth: i32): i32 {
  return max(64, (32768 / depth) & ~3);
}

/** Bytes of scratch that {@link convolution} needs. */
export function convolutionScratch(depth: i32): i32 {
  return patchesPerBlock(depth) * (depth << 2) + multiplyScratch();
}

function copy(from: usize, to: usize, bytes: usize): void {
  const end = from + bytes;
  for (; from + 16 <= end; from += 16, to += 16) v128.store(to, v128.load(from));
  for (; from < end; from += 4, to += 4) f32.store(to, f32.load(from));
}

function clear(to: usize, bytes: usize): void {
  const end = to + bytes;
  for (; to + 16 <= end; to += 16) v128.store(to, f32x4.splat(0));
  for (; to < end; to += 4) f32.store(to, 0);
}

/** Writes the patches under output pixels `first` to `first + count` as rows [kernel, kernel, channels]. */
function unfold(
  height: i32,
  width: i32,
  channels: i32,
  kernel: i32,
  stride: i32,
  padding: i32,
  outWidth: i32,
  first: i32,
  count: i32,
  x: usize,
  patches: usize,
): void {
  const bytes: usize = channels << 2;
  const row: usize = kernel * bytes;
  for (let index = first; index < first + count; index++) {
    const top = (index / outWidth) * stride - padding;
    const left = (index % outWidth) * stride - padding;
    const before: usize = left < 0 ? min(kernel, -left) * bytes : 0;
    const after: usize = left + kernel > width ? min(kernel, left + kernel - width) * bytes : 0;
    for (let y = top; y < top + kernel; y++, patches += row) {
      if (y < 0 || y >= height || before + after >= row) {
        clear(patches, row);
        continue;
      }
      clear(patches, before);
      copy(x + (y * width + left) * bytes + before, patches + before, row - before - after);
      clear(patches + row - after, after);
    }
  }
}

/** {@link convolution} for `count` pixels of the output, from the pixel `first` on. */
export function convolutionPart(
  height: i32,
  width: i32,
  channels: i32,
  kernel: i32,
  stride: i32,
  padding: i32,
  outWidth: i32,
  outputs: i32,
  first: i32,
  count: i32,
  x: usize,
  panels: usize,
  bias: usize,
  out: usize,
  scratch: usize,
  format: i32,
): void {
  const depth = kernel * kernel * channels;
  const block = patchesPerBlock(depth);
  const rest = scratch + block * (depth << 2);
  for (const end = first + count; first < end; first += block) {
    const pixels = min(block, end - first);
    unfold(height, width, channels, kernel, stride, padding, outWidth, first, pixels, x, scratch);
    multiply(
      pixels,
      outputs,
      depth,
      scratch,
      panels,
      bias,
      0,
      out + ((first * outputs) << 2),
      Activation.none,
      rest,
      format,
    );
  }
}

/**
 * Convolution of one image as a product of its patches with the filter.
 *
 * @param x [height, width, channels]
 * @param panels of the filter [kernel·kernel·channels, outputs]
 * @param bias [outputs], or 0
 * @param out [outHeight, outWidth, outputs]
 */
export function convolution(
  height: i32,
  width: i32,
  channels: i32,
  kernel: i32,
  stride: i32,
  padding: i32,
  outHeight: i32,
  outWidth: i32,
  outputs: i32,
  x: usize,
  panels: usize,
  bias: usize,
  out: usize,
  scratch: usize,
): void {
  convolutionPart(
    height,
    width,
    channels,
    kernel,
    stride,
    padding,
    outWidth,
    outputs,
    0,
    outHeight * outWidth,
    x,
    panels,
    bias,
    out,
    scratch,
    WeightFormat.float32,
  );
}

/**
 * dFilter += gradient of {@link convolution} with respect to its filter; needs the scratch of the
 * convolution.
 */
export function convolutionFilterGradient(
  height: i32,
  width: i32,
  channels: i32,
  kernel: i32,
  stride: i32,
  padding: i32,
  outHeight: i32,
  outWidth: i32,
  outputs: i32,
  x: usize,
  dy: usize,
  dFilter: usize,
  scratch: usize,
): void {
  const depth = kernel * kernel * channels;
  const block = patchesPerBlock(depth);
  const outStride: usize = outputs << 2;
  const total = outHeight * outWidth;
  for (let first = 0; first < total; first += block) {
    const count = min(block, total - first);
    unfold(height, width, channels, kernel, stride, padding, outWidth, first, count, x, scratch);
    multiplyTransposed(
      count,
      depth,
      outputs,
      scratch,
      depth << 2,
      dy + first * outStride,
      outStride,
      dFilter,
      outStride,
    );
  }
}

/** Adds rows [kernel, kernel, channels] to the patches that they came from: the adjoint of {@link unfold}. */
function fold(
  height: i32,
  width: i32,
  channels: i32,
  kernel: i32,
  stride: i32,
  padding: i32,
  outWidth: i32,
  first: i32,
  count: i32,
  patches: usize,
  x: usize,
): void {
  const bytes: usize = channels << 2;
  for (let index = first; index < first + count; index++) {
    const top = (index / outWidth) * stride - padding;
    const left = (index % outWidth) * stride - padding;
    const begin = max(0, left);
    const end = min(width, left + kernel);
    for (let y = top; y < top + kernel; y++, patches += kernel * bytes) {
      if (y < 0 || y >= height || begin >= end) continue;
      let from = patches + (begin - left) * bytes;
      let to = x + (y * width + begin) * bytes;
      const last = to + (end - begin) * bytes;
      for (; to + 16 <= last; to += 16, from += 16) v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
      for (; to < last; to += 4, from += 4) f32.store(to, f32.load(to) + f32.load(from));
    }
  }
}

/**
 * dx += gradient of {@link convolution} with respect to its input; needs the scratch of the convolution.
 *
 * @param panels of the transposed filter [outputs, kernel·kernel·channels]
 */
export function convolutionInputGradient(
  height: i32,
  width: i32,
  channels: i32,
  kernel: i32,
  stride: i32,
  padding: i32,
  outHeight: i32,
  outWidth: i32,
  outputs: i32,
  dy: usize,
  panels: usize,
  dx: usize,
  scratch: usize,
): void {
  const depth = kernel * kernel * channels;
  const block = patchesPerBlock(depth);
  const rest = scratch + block * (depth << 2);
  const total = outHeight * outWidth;
  for (let first = 0; first < total; first += block) {
    const count = min(block, total - first);
    multiply(
      count,
      depth,
      outputs,
      dy + ((first * outputs) << 2),
      panels,
      0,
      0,
      scratch,
      Activation.none,
      rest,
      WeightFormat.float32,
    );
    fold(height, width, channels, kernel, stride, padding, outWidth, first, count, scratch, dx);
  }
}
