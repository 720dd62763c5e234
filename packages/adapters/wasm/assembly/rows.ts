/** Bytes of rows packed by {@link packRows}. */
export function packedRowBytes(rows: i32, depth: i32): i32 {
  return (((rows + 3) & ~3) * depth) << 2;
}

/**
 * Packs rows in groups of four whose elements alternate: the product then reads them through one pointer
 * instead of four. In the last group the first row stands in for missing ones.
 */
export function packRows(rows: i32, depth: i32, a: usize, aStride: usize, to: usize): void {
  let step1 = aStride,
    step2 = 2 * aStride,
    step3 = 3 * aStride;
  const bytes: usize = depth << 2;
  const bytesBy4 = bytes & ~15;
  for (let left = rows; left > 0; left -= 4, a += aStride << 2) {
    if (left < 4) {
      step3 = 0;
      if (left < 3) step2 = 0;
      if (left < 2) step1 = 0;
    }
    let from = a;
    for (const end = a + bytesBy4; from < end; from += 16, to += 64) {
      const x0 = v128.load(from);
      const x1 = v128.load(from + step1);
      const x2 = v128.load(from + step2);
      const x3 = v128.load(from + step3);
      const low01 = v128.shuffle<i32>(x0, x1, 0, 4, 1, 5);
      const low23 = v128.shuffle<i32>(x2, x3, 0, 4, 1, 5);
      const high01 = v128.shuffle<i32>(x0, x1, 2, 6, 3, 7);
      const high23 = v128.shuffle<i32>(x2, x3, 2, 6, 3, 7);
      v128.store(to, v128.shuffle<i64>(low01, low23, 0, 2));
      v128.store(to, v128.shuffle<i64>(low01, low23, 1, 3), 16);
      v128.store(to, v128.shuffle<i64>(high01, high23, 0, 2), 32);
      v128.store(to, v128.shuffle<i64>(high01, high23, 1, 3), 48);
    }
    for (const end = a + bytes; from < end; from += 4, to += 16) {
      f32.store(to, f32.load(from));
      f32.store(to, f32.load(from + step1), 4);
      f32.store(to, f32.load(from + step2), 8);
      f32.store(to, f32.load(from + step3), 12);
    }
  }
}
