import { gelu } from './activation';
import { attention } from './attention';
import { convolutionPart } from './convolution';
import { bandRows, depthwise } from './depthwise';
import { binary, copyBlocks, mean, softmaxRows, transpose, unary } from './elementwise';
import * as calls from './generated/calls';
import { layerNorm } from './norm';
import { multiply, pack } from './product';

/**
 * How often a thread looks for the others before it sleeps: some 80 microseconds, about what a wake-up costs.
 */
const spinCount = 50000;

/**
 * Waits for all threads. A thread that is early spins for a while and then sleeps, so that threads which
 * share a core do not block those that they wait for.
 *
 * @param control three words: threads that have arrived, completed rounds, threads asleep
 */
function barrier(threads: i32, control: usize): void {
  if (threads === 1) return;
  const round = atomic.load<i32>(control, 4);
  if (atomic.add<i32>(control, 1) === threads - 1) {
    atomic.store<i32>(control, 0);
    atomic.add<i32>(control, 1, 4);
    if (atomic.load<i32>(control, 8) > 0) atomic.notify(control + 4, threads);
    return;
  }
  for (let i = 0; i < spinCount; i++) if (atomic.load<i32>(control, 4) !== round) return;
  atomic.add<i32>(control, 1, 8);
  while (atomic.load<i32>(control, 4) === round) atomic.wait<i32>(control + 4, round, -1);
  atomic.sub<i32>(control, 1, 8);
}

/**
 * Executes encoded calls. Every thread runs this; they take shares of a call until none are left, and wait
 * for each other before the next call.
 *
 * @param scratch of this thread
 * @param control of the {@link barrier}, the same for all threads
 */
export function run(
  address: usize,
  count: i32,
  thread: i32,
  threads: i32,
  scratch: usize,
  control: usize,
): void {
  const taken = offsetof<calls.Call>('sharesTaken');
  if (thread === 0)
    for (let i = 0; i < count; i++) atomic.store<i32>(address + i * calls.callBytes + taken, 0);
  barrier(threads, control);
  for (let i = 0; i < count; i++, address += calls.callBytes) {
    const call = changetype<calls.Call>(address);
    const items = call.items;
    const share = call.itemsPerShare;
    for (
      let first = share * atomic.add<i32>(address + taken, 1);
      first < items;
      first = share * atomic.add<i32>(address + taken, 1)
    ) {
      execute(address, first, min(share, items - first), scratch);
    }
    barrier(threads, control);
  }
}

/** Executes `count` items of a call, from the item `first` on. */
function execute(call: usize, first: i32, count: i32, scratch: usize): void {
  switch (changetype<calls.Call>(call).operation) {
    case calls.Operation.multiply:
      return runMultiply(changetype<calls.MultiplyCall>(call), first, count, scratch);
    case calls.Operation.layerNorm:
      return runLayerNorm(changetype<calls.LayerNormCall>(call), first, count);
    case calls.Operation.gelu: {
      const c = changetype<calls.GeluCall>(call);
      return gelu(count, c.x + (first << 2), c.out + (first << 2));
    }
    case calls.Operation.attention:
      return runAttention(changetype<calls.AttentionCall>(call), first, count, scratch);
    case calls.Operation.depthwise:
      return runDepthwise(changetype<calls.DepthwiseCall>(call), first, count, scratch);
    case calls.Operation.depthwiseMultiply:
      return runDepthwiseMultiply(changetype<calls.DepthwiseMultiplyCall>(call), first, count, scratch);
    case calls.Operation.convolution:
      return runConvolution(changetype<calls.ConvolutionCall>(call), first, count, scratch);
    case calls.Operation.pack:
      return runPack(changetype<calls.PackCall>(call), first, count);
    case calls.Operation.binary: {
      const c = changetype<calls.BinaryCall>(call);
      return binary(c.kind, first, count, c.period, c.a + (first << 2), c.b, c.out + (first << 2));
    }
    case calls.Operation.unary: {
      const c = changetype<calls.UnaryCall>(call);
      return unary(c.kind, count, c.x + (first << 2), c.out + (first << 2));
    }
    case calls.Operation.copyBlocks:
      return runCopyBlocks(changetype<calls.CopyBlocksCall>(call), first, count);
    case calls.Operation.mean: {
      const c = changetype<calls.MeanCall>(call);
      return mean(c.rows, c.columns, first, count, c.x, c.out);
    }
    case calls.Operation.transpose:
      return runTranspose(changetype<calls.TransposeCall>(call), first, count);
    case calls.Operation.softmaxRows: {
      const c = changetype<calls.SoftmaxRowsCall>(call);
      const offset = (first * c.columns) << 2;
      return softmaxRows(count, c.columns, c.x + offset, c.out + offset, scratch);
    }
    default:
      unreachable();
  }
}

/** An optional address moved on; none (0) stays none. */
function moved(address: usize, bytes: i32): usize {
  return address === 0 ? 0 : address + bytes;
}

/** Items are rows of the product. */
function runMultiply(call: calls.MultiplyCall, first: i32, count: i32, scratch: usize): void {
  const offset = (first * call.columns) << 2;
  multiply(
    count,
    call.columns,
    call.depth,
    call.a + ((first * call.depth) << 2),
    call.panels,
    call.bias,
    moved(call.residual, offset),
    call.out + offset,
    call.activation,
    scratch,
    call.format,
  );
}

/** Items are rows. */
function runLayerNorm(call: calls.LayerNormCall, first: i32, count: i32): void {
  const offset = (first * call.channels) << 2;
  layerNorm(count, call.channels, call.x + offset, call.weight, call.bias, call.out + offset, call.eps);
}

/** Items are queries. */
function runAttention(call: calls.AttentionCall, first: i32, count: i32, scratch: usize): void {
  const offset = (first * call.heads * call.width) << 2;
  const query = call.query + offset;
  attention(count, call.keys, call.heads, call.width, query, call.keyValue, call.out + offset, scratch);
}

/** Items are rows of the map. */
function runDepthwise(call: calls.DepthwiseCall, first: i32, count: i32, scratch: usize): void {
  depthwise(
    call.height,
    call.width,
    call.channels,
    first,
    count,
    call.x,
    call.filter,
    call.bias,
    call.out + ((first * call.width * call.channels) << 2),
    call.activation,
    scratch,
  );
}

/**
 * A depthwise convolution and the product of its map with a weight, one band of rows at a time: the map
 * between the two never exists as a whole. Items are rows of the map.
 */
function runDepthwiseMultiply(
  call: calls.DepthwiseMultiplyCall,
  first: i32,
  count: i32,
  scratch: usize,
): void {
  const width = call.width;
  const channels = call.channels;
  const columns = call.columns;
  const band = bandRows(width, channels);
  const rest = scratch + ((band * width * channels) << 2);
  for (let row = first; row < first + count; row += band) {
    const rows = min(band, first + count - row);
    const offset = (row * width * columns) << 2;
    depthwise(
      call.height,
      width,
      channels,
      row,
      rows,
      call.x,
      call.filter,
      call.filterBias,
      scratch,
      call.activation,
      rest,
    );
    multiply(
      rows * width,
      columns,
      channels,
      scratch,
      call.panels,
      call.bias,
      moved(call.residual, offset),
      call.out + offset,
      calls.Activation.none,
      rest,
      call.format,
    );
  }
}

/** Items are pixels of the output. */
function runConvolution(call: calls.ConvolutionCall, first: i32, count: i32, scratch: usize): void {
  convolutionPart(
    call.height,
    call.width,
    call.channels,
    call.kernel,
    call.stride,
    call.padding,
    call.outWidth,
    call.outputs,
    first,
    count,
    call.x,
    call.panels,
    call.bias,
    call.out,
    scratch,
    call.format,
  );
}

/** Items are panels of eight columns. */
function runPack(call: calls.PackCall, first: i32, count: i32): void {
  pack(
    min(call.columns - (first << 3), count << 3),
    call.depth,
    call.source + (first << 3) * call.columnStride,
    call.columnStride,
    call.depthStride,
    call.out + first * (call.depth << 5),
    1,
  );
}

/** Items are blocks. */
function runCopyBlocks(call: calls.CopyBlocksCall, first: i32, count: i32): void {
  copyBlocks(
    count,
    call.bytes,
    call.source + first * call.sourceStride,
    call.sourceStride,
    call.out + first * call.outStride,
    call.outStride,
  );
}

/** Items are the rows that the first two axes of the output count. */
function runTranspose(call: calls.TransposeCall, first: i32, count: i32): void {
  transpose(
    first,
    count,
    call.side1,
    call.side2,
    call.side3,
    call.stride0,
    call.stride1,
    call.stride2,
    call.stride3,
    call.x,
    call.out,
  );
}
