import { exponentials, multiplyAdd, sumOfLanes } from './math';
import { moveColumns, multiplyPanel, multiplyTransposed, pack, panelBytes } from './product';
import { packedRowBytes, packRows } from './rows';

/** Queries in one block: their rows of probabilities stay in the L1 cache. */
function queriesPerBlock(keys: i32): i32 {
  return max(4, min(64, 4096 / keys) & ~3);
}

function paddedKeys(keys: i32): i32 {
  return (keys + 7) & ~7;
}

/** Bytes for the packed rows of {@link multiplyKeys} and {@link multiplyHead}. */
function rowScratch(keys: i32, width: i32): i32 {
  return packedRowBytes(queriesPerBlock(keys), max(keys, width));
}

/** Bytes of scratch that {@link attention} needs. */
export function attentionScratch(keys: i32, width: i32): i32 {
  return (
    panelBytes(keys, width) +
    panelBytes(width, keys) +
    rowScratch(keys, width) +
    ((queriesPerBlock(keys) * (paddedKeys(keys) + 8)) << 2)
  );
}

/** Turns rows of scores into probabilities; `stride` floats per row, zeros after the last key. */
export function softmax(rows: i32, keys: i32, scores: usize, stride: i32): void {
  const used: usize = keys << 2;
  const bytes: usize = stride << 2;
  const end = scores + rows * bytes;
  for (let row = scores; row < end; row += bytes) {
    for (let c = used; c < bytes; c += 4) f32.store(row + c, -Infinity);
    let largest = v128.load(row);
    for (let c: usize = 16; c < bytes; c += 16) largest = f32x4.pmax(largest, v128.load(row + c));
    // Engines evaluate this again in the loop; the shuffles need no branches, unlike the maximum of four
    // scalars.
    const two = f32x4.pmax(largest, v128.shuffle<i32>(largest, largest, 2, 3, 0, 1));
    const top = f32x4.pmax(two, v128.shuffle<i32>(two, two, 1, 0, 3, 2));
    for (let c: usize = 0; c < bytes; c += 16) v128.store(row + c, f32x4.sub(v128.load(row + c), top));
  }
  exponentials(scores, end);
  for (let row = scores; row < end; row += bytes) {
    let sums = f32x4.splat(0);
    for (let c: usize = 0; c < bytes; c += 16) sums = f32x4.add(sums, v128.load(row + c));
    const share = f32x4.splat(1 / sumOfLanes(sums));
    for (let c: usize = 0; c < bytes; c += 16) v128.store(row + c, f32x4.mul(v128.load(row + c), share));
  }
}

/** [rows, width] times panels of keys: [rows, padded keys]. */
function multiplyKeys(
  rows: i32,
  keys: i32,
  width: i32,
  a: usize,
  aStride: usize,
  panels: usize,
  out: usize,
  outStride: usize,
  scratch: usize,
): void {
  packRows(rows, width, a, aStride, scratch);
  for (let key = 0; key < keys; key += 8, panels += width << 5, out += 32)
    multiplyPanel(rows, width, scratch, panels, 0, 0, out, outStride);
}

/** [rows, keys] times panels of a head's columns: [rows, width]; `tail` holds 8 columns of each row. */
function multiplyHead(
  rows: i32,
  width: i32,
  keys: i32,
  a: usize,
  aStride: usize,
  panels: usize,
  out: usize,
  outStride: usize,
  scratch: usize,
  tail: usize,
): void {
  packRows(rows, keys, a, aStride, scratch);
  for (let column = 0; column < width; column += 8, panels += keys << 5, out += 32) {
    if (column + 8 <= width) {
      multiplyPanel(rows, keys, scratch, panels, 0, 0, out, outStride);
    } else {
      multiplyPanel(rows, keys, scratch, panels, 0, 0, tail, 32);
      moveColumns(rows, width - column, tail, 0, 0, out, outStride);
    }
  }
}

/**
 * softmax(query·keysᵀ/√width)·values for every head of one image.
 *
 * @param query [tokens, heads·width]
 * @param keyValue [keys, 2·heads·width], keys before values
 * @param out [tokens, heads·width]
 */
export function attention(
  tokens: i32,
  keys: i32,
  heads: i32,
  width: i32,
  query: usize,
  keyValue: usize,
  out: usize,
  scratch: usize,
): void {
  const stride: usize = (heads * width) << 2;
  const padded = paddedKeys(keys);
  const rowBytes: usize = padded << 2;
  const block = queriesPerBlock(keys);
  const keyPanels = scratch;
  const valuePanels = keyPanels + panelBytes(keys, width);
  const probabilities = valuePanels + panelBytes(width, keys);
  const tail = probabilities + block * rowBytes;
  const rows = tail + (block << 5);
  const scale: f32 = 1 / sqrt<f32>(f32(width));
  for (let head = 0; head < heads; head++) {
    const offset: usize = (head * width) << 2;
    pack(keys, width, keyValue + offset, 2 * stride, 4, keyPanels, scale);
    pack(width, keys, keyValue + stride + offset, 4, 2 * stride, valuePanels, 1);
    let from = query + offset;
    let to = out + offset;
    for (let token = 0; token < tokens; token += block, from += block * stride, to += block * stride) {
      const count = min(block, tokens - token);
      multiplyKeys(count, keys, width, from, stride, keyPanels, probabilities, rowBytes, rows);
      softmax(count, keys, probabilities, padded);
      multiplyHead(count, width, keys, probabilities, rowBytes, valuePanels, to, stride, rows, tail);
    }
  }
}

/** Bytes of scratch that {@link attentionGradient} needs. */
export function attentionGradientScratch(keys: i32, width: i32): i32 {
  const padded = paddedKeys(keys);
  return (
    2 * panelBytes(keys, width) +
    panelBytes(width, keys) +
    rowScratch(keys, width) +
    ((queriesPerBlock(keys) * (2 * padded + 8) + 2 * padded * width) << 2)
  );
}

/** Turns gradients of probabilities, in place, into gradients of scores: p·(dp - Σ p·dp)·scale. */
function softmaxGradient(rows: i32, bytes: usize, probabilities: usize, gradients: usize, scale: f32): void {
  for (let row = 0; row < rows; row++, probabilities += bytes, gradients += bytes) {
    let sums = f32x4.splat(0);
    for (let c: usize = 0; c < bytes; c += 16)
      sums = multiplyAdd(v128.load(probabilities + c), v128.load(gradients + c), sums);
    const sum = f32x4.splat(sumOfLanes(sums));
    for (let c: usize = 0; c < bytes; c += 16) {
      const p = f32x4.mul(v128.load(probabilities + c), f32x4.splat(scale));
      v128.store(gradients + c, f32x4.mul(p, f32x4.sub(v128.load(gradients + c), sum)));
    }
  }
}

/** Gradients of {@link attention}; computes the probabilities again. */
export function attentionGradient(
  tokens: i32,
  keys: i32,
  heads: i32,
  width: i32,
  query: usize,
  keyValue: usize,
  dy: usize,
  dQuery: usize,
  dKeyValue: usize,
  scratch: usize,
): void {
  const stride: usize = (heads * width) << 2;
  const padded = paddedKeys(keys);
  const rowBytes: usize = padded << 2;
  const widthBytes: usize = width << 2;
  const block = queriesPerBlock(keys);
  const keyPanels = scratch;
  const valuePanels = keyPanels + panelBytes(keys, width);
  const backPanels = valuePanels + panelBytes(keys, width);
  const probabilities = backPanels + panelBytes(width, keys);
  const gradients = probabilities + block * rowBytes;
  const dKeys = gradients + block * rowBytes;
  const dValues = dKeys + padded * widthBytes;
  const tail = dValues + padded * widthBytes;
  const rows = tail + (block << 5);
  const scale: f32 = 1 / sqrt<f32>(f32(width));
  for (let head = 0; head < heads; head++) {
    const offset: usize = head * widthBytes;
    const key = keyValue + offset;
    pack(keys, width, key, 2 * stride, 4, keyPanels, scale);
    pack(keys, width, key + stride, 2 * stride, 4, valuePanels, 1);
    pack(width, keys, key, 4, 2 * stride, backPanels, 1);
    memory.fill(dKeys, 0, 2 * padded * widthBytes);
    let at = offset;
    for (let token = 0; token < tokens; token += block, at += block * stride) {
      const count = min(block, tokens - token);
      multiplyKeys(count, keys, width, query + at, stride, keyPanels, probabilities, rowBytes, rows);
      softmax(count, keys, probabilities, padded);
      multiplyKeys(count, keys, width, dy + at, stride, valuePanels, gradients, rowBytes, rows);
      multiplyTransposed(count, padded, width, probabilities, rowBytes, dy + at, stride, dValues, widthBytes);
      softmaxGradient(count, rowBytes, probabilities, gradients, scale);
      multiplyTransposed(count, padded, width, gradients, rowBytes, query + at, stride, dKeys, widthBytes);
      multiplyHead(count, width, keys, gradients, rowBytes, backPanels, dQuery + at, stride, rows, tail);
    }
    let to = dKeyValue + offset;
    for (let index = 0; index < keys; index++, to += 2 * stride) {
      memory.copy(to, dKeys + index * widthBytes, widthBytes);
      memory.copy(to + stride, dValues + index * widthBytes, widthBytes);
    }
  }
}
