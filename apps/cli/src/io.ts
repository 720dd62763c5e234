import colors from 'picocolors';

/** Where text goes: a stream of the process, or a test's own. */
export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** The outside of a command: answers go to `stdout`, notes, progress and errors to `stderr`. */
export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
}

export type Paint = ReturnType<typeof colors.createColors>;

/** Colours for a terminal that shows them, plain text for everything else. */
export const paintFor = (sink: Sink): Paint => colors.createColors(sink.isTTY === true && colors.isColorSupported);

export const print = ({ stdout }: Io, text: string): void => void stdout.write(`${text}\n`);

export const printJson = (io: Io, value: unknown): void => print(io, JSON.stringify(value, null, 2));

/** One sentence beside the answer. */
export function note({ stderr }: Io, text: string): void {
  stderr.write(`${paintFor(stderr).dim(`note: ${text}`)}\n`);
}

/** Says what is being done while it is done, on a terminal only, and wipes it afterwards. */
export async function progress<T>({ stderr }: Io, text: string, work: () => T | Promise<T>): Promise<T> {
  if (!stderr.isTTY) return work();
  stderr.write(paintFor(stderr).dim(`… ${text}`));
  // The work may block this thread, so that the text must be on its way before.
  await new Promise((resolve) => setImmediate(resolve));
  try {
    return await work();
  } finally {
    stderr.write('\r\u001B[K');
  }
}
