import { PvtError } from '@pvt/core';

/** Where a run stopped being numbers. */
export interface TrainingErrorDetails {
  /** Counted from 1, as events count. */
  readonly step?: number;
  /** The layer or parameter that was the first to hold NaN or Infinity. */
  readonly where?: string;
}

/** A training that cannot start, continue or resume. */
export class TrainingError extends PvtError {
  readonly step: number | undefined;
  readonly where: string | undefined;

  constructor(
    code: string,
    message: string,
    { step, where }: TrainingErrorDetails = {},
    options?: ErrorOptions,
  ) {
    super(code, message, options);
    this.step = step;
    this.where = where;
  }
}
