/** Cache lines: two threads that write to different blocks must not share one. */
const alignment = 64;

interface Region {
  start: number;
  bytes: number;
}

/** Manages addresses of a memory that may grow: the first free region that is large enough is used. */
export class Allocator {
  /** In the order of their addresses, never adjacent. */
  private readonly freeRegions: Region[] = [];
  /** Bytes of what is allocated, by address. */
  private readonly allocated = new Map<number, number>();
  /** End of the last allocated region. */
  end: number;
  /** The largest {@link end} so far. */
  peak: number;

  constructor(start = 0) {
    this.end = start;
    this.peak = start;
  }

  /** The address of so many bytes, aligned to cache lines. */
  allocate(bytes: number): number {
    const size = Math.max(alignment, Math.ceil(bytes / alignment) * alignment);
    const index = this.freeRegions.findIndex((region) => region.bytes >= size);
    const region = this.freeRegions[index];
    let start = this.end;
    if (region === undefined) {
      this.end += size;
      this.peak = Math.max(this.peak, this.end);
    } else {
      start = region.start;
      region.start += size;
      region.bytes -= size;
      if (region.bytes === 0) this.freeRegions.splice(index, 1);
    }
    this.allocated.set(start, size);
    return start;
  }

  /** Frees an address that {@link allocate} returned. */
  free(start: number): void {
    const bytes = this.allocated.get(start)!;
    this.allocated.delete(start);
    const next = this.freeRegions.findIndex((region) => region.start > start);
    const index = next < 0 ? this.freeRegions.length : next;
    this.freeRegions.splice(index, 0, { start, bytes });
    this.mergeWithNext(index);
    this.mergeWithNext(index - 1);
    const last = this.freeRegions.at(-1);
    if (last === undefined || last.start + last.bytes !== this.end) return;
    this.end = last.start;
    this.freeRegions.pop();
  }

  private mergeWithNext(index: number): void {
    const [left, right] = [this.freeRegions[index], this.freeRegions[index + 1]];
    if (left === undefined || right === undefined || left.start + left.bytes !== right.start) return;
    left.bytes += right.bytes;
    this.freeRegions.splice(index + 1, 1);
  }
}
