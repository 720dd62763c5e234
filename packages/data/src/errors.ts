import { PvtError } from '@pvt/core';

/** A data set, or a file in it, that cannot be read or does not say what its task needs; `code` tells why. */
export class DataError extends PvtError {}

/** An error's own words, for a sentence that names the file. */
export const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
