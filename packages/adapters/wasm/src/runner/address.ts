/** A position in a block of a program. */
export interface Address {
  /** Index of the block. */
  readonly block: number;
  /** Bytes from the start of the block. */
  readonly offset: number;
}

/** An address moved on by bytes. */
export const shifted = ({ block, offset }: Address, bytes: number): Address => ({
  block,
  offset: offset + bytes,
});
