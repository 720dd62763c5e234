/**
 * Free and taken stretches of a memory that may grow: the first free stretch that is large enough is taken.
 */
export class Allocator {
  private readonly holes: { start: number; bytes: number }[] = [];
  private readonly taken = new Map<number, number>();
  /** Where what is taken ends. */
  end: number;
  /** The largest {@link end} so far. */
  peak: number;

  constructor(start = 0) {
    this.end = start;
    this.peak = start;
  }

  /** The address of so many bytes, a multiple of 64 as cache lines are. */
  allocate(bytes: number): number {
    const size = Math.max(64, Math.ceil(bytes / 64) * 64);
    const index = this.holes.findIndex((stretch) => stretch.bytes >= size);
    const stretch = this.holes[index];
    let start = this.end;
    if (stretch === undefined) {
      this.end += size;
      this.peak = Math.max(this.peak, this.end);
    } else {
      start = stretch.start;
      stretch.start += size;
      stretch.bytes -= size;
      if (stretch.bytes === 0) this.holes.splice(index, 1);
    }
    this.taken.set(start, size);
    return start;
  }

  /** Gives back what {@link allocate} gave. */
  free(start: number): void {
    const bytes = this.taken.get(start)!;
    this.taken.delete(start);
    const next = this.holes.findIndex((stretch) => stretch.start > start);
    const index = next < 0 ? this.holes.length : next;
    this.holes.splice(index, 0, { start, bytes });
    for (const i of [index, index - 1]) {
      const [left, right] = [this.holes[i], this.holes[i + 1]];
      if (left === undefined || right === undefined || left.start + left.bytes !== right.start) continue;
      left.bytes += right.bytes;
      this.holes.splice(i + 1, 1);
    }
    const last = this.holes.at(-1);
    if (last === undefined || last.start + last.bytes !== this.end) return;
    this.end = last.start;
    this.holes.pop();
  }
}
