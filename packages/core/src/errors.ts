/**
 * Base of every error that this project throws on purpose. The message says, in one sentence, who expected
 * what, what it got and what to do; `code` is stable and meant for programs.
 *
 * @example
 * try {
 *   createPvt(config, source);
 * } catch (error) {
 *   if (error instanceof PvtError) console.error(error.code);
 * }
 */
export class PvtError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** An invalid configuration, option or argument. */
export class ConfigError extends PvtError {}

/** A tensor or image of the wrong shape. */
export class ShapeError extends PvtError {}

/** A backend that is missing, failed to start, or does not support what was asked of it. */
export class BackendError extends PvtError {}

/** Use of a model after its `dispose()`. */
export class DisposedError extends PvtError {
  constructor(who: string) {
    super(
      'disposed',
      `${who}: expected a live model, got one that was disposed; create it again before use.`,
    );
  }
}

/** A parameter whose shape in a checkpoint is not the model's. */
export interface ShapeMismatch {
  readonly path: string;
  readonly expected: readonly number[];
  readonly found: readonly number[];
}

/** Parameters of a checkpoint that do not fit a model. */
export interface CheckpointProblems {
  readonly missing?: readonly string[];
  readonly unexpected?: readonly string[];
  readonly mismatched?: readonly ShapeMismatch[];
}

/** A checkpoint that cannot be read, or does not fit its model. */
export class CheckpointError extends PvtError {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly mismatched: readonly ShapeMismatch[];

  constructor(code: string, message: string, problems: CheckpointProblems = {}, options?: ErrorOptions) {
    super(code, message, options);
    this.missing = problems.missing ?? [];
    this.unexpected = problems.unexpected ?? [];
    this.mismatched = problems.mismatched ?? [];
  }
}
