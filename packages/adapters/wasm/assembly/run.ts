import { gelu } from './activation';
import { attention } from './attention';
import { convolutionPart } from './convolution';
import { bandRows, depthwise } from './depthwise';
import { binary, copyBlocks, mean, softmaxRows, transpose, unary } from './elementwise';
import { layerNorm } from './norm';
import { Operation, stepWords } from './operation';
import { multiply, pack } from './product';

/** How often a thread looks again before it sleeps: some 80 microseconds, about what a wake-up takes. */
const looks = 50000;

/**
 * Waits for all threads. Those that come early look for a while and then sleep, so that threads which share a core do not
 * take it from those that they wait for.
 *
 * @param control three words: threads that have come, how often all have, threads asleep
 */
function meet(threads: i32, control: usize): void {
  if (threads === 1) return;
  const round = atomic.load<i32>(control, 4);
  if (atomic.add<i32>(control, 1) === threads - 1) {
    atomic.store<i32>(control, 0);
    atomic.add<i32>(control, 1, 4);
    if (atomic.load<i32>(control, 8) > 0) atomic.notify(control + 4, threads);
    return;
  }
  for (let look = 0; look < looks; look++) if (atomic.load<i32>(control, 4) !== round) return;
  atomic.add<i32>(control, 1, 8);
  while (atomic.load<i32>(control, 4) === round) atomic.wait<i32>(control + 4, round, -1);
  atomic.sub<i32>(control, 1, 8);
}

/**
 * Runs the steps of a plan. Every thread calls this; they take shares of a step one after another, and meet before the next one.
 *
 * @param scratch of this thread
 * @param control as {@link meet} has it; the same for all threads
 */
export function run(
  steps: usize,
  count: i32,
  thread: i32,
  threads: i32,
  scratch: usize,
  control: usize,
): void {
  const bytes: usize = stepWords << 2;
  if (thread === 0) for (let i = 0; i < count; i++) atomic.store<i32>(steps + i * bytes, 0, 12);
  meet(threads, control);
  for (let i = 0; i < count; i++, steps += bytes) {
    const items = load<i32>(steps, 4);
    const share = load<i32>(steps, 8);
    for (
      let first = share * atomic.add<i32>(steps, 1, 12);
      first < items;
      first = share * atomic.add<i32>(steps, 1, 12)
    ) {
      perform(steps, first, min(share, items - first), scratch);
    }
    meet(threads, control);
  }
}

/** The word of a step that says the given thing about it. */
function word(step: usize, index: i32): i32 {
  return load<i32>(step + ((index + 4) << 2));
}

/** A word that is an address, moved on; none stays none. */
function at(step: usize, index: i32, bytes: i32): usize {
  const address = <usize>word(step, index);
  return address === 0 ? 0 : address + bytes;
}

function perform(step: usize, first: i32, count: i32, scratch: usize): void {
  switch (load<i32>(step)) {
    case Operation.multiply: {
      const columns = word(step, 1);
      const depth = word(step, 2);
      const move = (first * columns) << 2;
      multiply(
        count,
        columns,
        depth,
        at(step, 3, (first * depth) << 2),
        word(step, 4),
        word(step, 5),
        at(step, 6, move),
        at(step, 7, move),
        word(step, 8),
        scratch,
        word(step, 10),
      );
      return;
    }
    case Operation.layerNorm: {
      const channels = word(step, 1);
      const move = (first * channels) << 2;
      layerNorm(
        count,
        channels,
        at(step, 2, move),
        word(step, 3),
        word(step, 4),
        at(step, 5, move),
        reinterpret<f32>(word(step, 6)),
      );
      return;
    }
    case Operation.gelu:
      return gelu(count, at(step, 1, first << 2), at(step, 2, first << 2));
    case Operation.attention: {
      const heads = word(step, 2);
      const width = word(step, 3);
      const move = (first * heads * width) << 2;
      attention(
        count,
        word(step, 1),
        heads,
        width,
        at(step, 4, move),
        word(step, 5),
        at(step, 6, move),
        scratch,
      );
      return;
    }
    case Operation.depthwise: {
      const width = word(step, 1);
      const channels = word(step, 2);
      depthwise(
        word(step, 0),
        width,
        channels,
        first,
        count,
        word(step, 5),
        word(step, 6),
        word(step, 7),
        at(step, 8, (first * width * channels) << 2),
        word(step, 9),
        scratch,
      );
      return;
    }
    case Operation.depthwiseMultiply:
      return depthwiseMultiply(step, first, count, scratch);
    case Operation.convolution:
      convolutionPart(
        word(step, 0),
        word(step, 1),
        word(step, 2),
        word(step, 3),
        word(step, 4),
        word(step, 5),
        word(step, 7),
        word(step, 8),
        first,
        count,
        word(step, 9),
        word(step, 10),
        word(step, 11),
        word(step, 12),
        scratch,
        word(step, 14),
      );
      return;
    case Operation.pack: {
      const depth = word(step, 1);
      const columnStride = word(step, 3);
      pack(
        min(word(step, 0) - (first << 3), count << 3),
        depth,
        at(step, 2, (first << 3) * columnStride),
        columnStride,
        word(step, 4),
        at(step, 5, first * (depth << 5)),
        reinterpret<f32>(word(step, 6)),
      );
      return;
    }
    case Operation.binary:
      return binary(
        word(step, 0),
        first,
        count,
        word(step, 2),
        at(step, 3, first << 2),
        word(step, 4),
        at(step, 5, first << 2),
      );
    case Operation.unary:
      return unary(word(step, 0), count, at(step, 2, first << 2), at(step, 3, first << 2));
    case Operation.copyBlocks:
      return copyBlocks(
        count,
        word(step, 1),
        at(step, 2, first * word(step, 3)),
        word(step, 3),
        at(step, 4, first * word(step, 5)),
        word(step, 5),
      );
    case Operation.mean:
      return mean(word(step, 0), word(step, 1), first, count, word(step, 2), word(step, 3));
    case Operation.transpose:
      return transpose(
        first,
        count,
        word(step, 1),
        word(step, 2),
        word(step, 3),
        word(step, 4),
        word(step, 5),
        word(step, 6),
        word(step, 7),
        word(step, 8),
        word(step, 9),
      );
    case Operation.softmaxRows: {
      const columns = word(step, 1);
      const move = (first * columns) << 2;
      softmaxRows(count, columns, at(step, 2, move), at(step, 3, move), scratch);
      return;
    }
    default:
      unreachable();
  }
}

/** A depthwise convolution and the product after it, a band of rows at a time: the map between them is never whole. */
function depthwiseMultiply(step: usize, first: i32, count: i32, scratch: usize): void {
  const width = word(step, 1);
  const channels = word(step, 2);
  const columns = word(step, 7);
  const band = bandRows(width, channels);
  const rest = scratch + ((band * width * channels) << 2);
  for (let row = first; row < first + count; row += band) {
    const rows = min(band, first + count - row);
    const move = (row * width * columns) << 2;
    depthwise(
      word(step, 0),
      width,
      channels,
      row,
      rows,
      word(step, 3),
      word(step, 4),
      word(step, 5),
      scratch,
      word(step, 6),
      rest,
    );
    multiply(
      rows * width,
      columns,
      channels,
      scratch,
      word(step, 8),
      word(step, 9),
      at(step, 10, move),
      at(step, 11, move),
      0,
      rest,
      word(step, 12),
    );
  }
}
