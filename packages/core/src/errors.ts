/**
 * Base of every error this project throws on purpose. The message says, in one sentence, who complains, what was
 * expected, what came and what to do; `code` is stable and meant for programs.
 *
 * @example
 * try { createPvt(config, source); } catch (error) { if (error instanceof PvtError) console.error(error.code); }
 */
export class PvtError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A configuration, option or argument that cannot describe a model or a run. */
export class ConfigError extends PvtError {}

/** A tensor or image of a shape that the receiver cannot take. */
export class ShapeError extends PvtError {}

/** A backend that is missing, failed to start, or cannot do what was asked. */
export class BackendError extends PvtError {}

/** Use of a model after its `dispose()`. */
export class DisposedError extends PvtError {
  constructor(who: string) {
    super(
      'disposed',
      `${who}: expected a live model, got one that was disposed of; create it again before use.`,
    );
  }
}

/** A parameter whose shape in a checkpoint is not the one that the model needs. */
export interface ShapeMismatch {
  readonly path: string;
  readonly expected: readonly number[];
  readonly found: readonly number[];
}

/** What did not fit when parameters met a model. */
export interface CheckpointProblems {
  readonly missing?: readonly string[];
  readonly unexpected?: readonly string[];
  readonly mismatched?: readonly ShapeMismatch[];
}

/** A checkpoint that cannot be read, or does not fit the model it was given to. */
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
