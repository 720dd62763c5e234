import { PvtError } from '@pvt/core';

/** A data set, or a file in it, that cannot be read or lacks what its task needs; `code` says why. */
export class DataError extends PvtError {}

/** The message of whatever was thrown. */
export const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
