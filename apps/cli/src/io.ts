import colors from 'picocolors';

/** Where text goes: a stream of the process, or a test's own. */
export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Where a command writes: results to `stdout`; notes, progress and errors to `stderr`. */
export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
}

export type Paint = ReturnType<typeof colors.createColors>;

/** Colors on a terminal that supports them, else plain text. */
export const paintFor = (sink: Sink): Paint =>
  colors.createColors(sink.isTTY === true && colors.isColorSupported);

export const print = ({ stdout }: Io, text: string): void => void stdout.write(`${text}\n`);

export const printJson = (io: Io, value: unknown): void => print(io, JSON.stringify(value, null, 2));

/** Clears the line of {@link progress} on a terminal. */
export const wipe = ({ isTTY }: Sink): string => (isTTY ? '\r\u001B[K' : '');

/** Writes one sentence to stderr. */
export function note({ stderr }: Io, text: string): void {
  stderr.write(`${wipe(stderr)}${paintFor(stderr).dim(`note: ${text}`)}\n`);
}

/**
 * Shows what is being done, on a terminal only, and clears it afterwards; the work may `show` its progress.
 */
export async function progress<T>(
  { stderr }: Io,
  text: string,
  work: (show: (text: string) => void) => T | Promise<T>,
): Promise<T> {
  if (!stderr.isTTY) return work(() => {});
  // A line that wraps could not be cleared.
  const show = (line: string) =>
    void stderr.write(`${wipe(stderr)}${paintFor(stderr).dim(line.slice(0, (stderr.columns ?? 80) - 1))}`);
  show(`… ${text}`);
  // The work may block this thread, so the text has to be written first.
  await new Promise((resolve) => setImmediate(resolve));
  try {
    return await work(show);
  } finally {
    stderr.write(wipe(stderr));
  }
}
