import { PvtError } from '@pvt/core';

/** Where NaN or Infinity first occurred. */
export interface TrainingErrorDetails {
  /** Counted from 1, as in events. */
  readonly step?: number;
  /** The first layer or parameter with NaN or Infinity. */
  readonly where?: string;
}

/** A run that cannot start, continue or resume. */
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
