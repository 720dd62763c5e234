/** A file of known size that can be read in pieces: bytes in memory, a Blob, a file on disk, ranges of a URL. */
export interface ReadableFile {
  /** What errors call the file by. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The bytes from `begin` up to, not including, `end`, both within the file; may be a view, and is only read. */
  read(begin: number, end: number): Promise<Uint8Array>;
}

/**
 * Bytes in memory as a file; its pieces are views, not copies.
 *
 * @example
 * const file = fromBytes('pvt_v2_b0.pth', new Uint8Array(await response.arrayBuffer()));
 */
export function fromBytes(name: string, content: Uint8Array | ArrayBuffer): ReadableFile {
  const bytes = content instanceof ArrayBuffer ? new Uint8Array(content) : content;
  return { name, size: bytes.length, read: async (begin, end) => bytes.subarray(begin, end) };
}
