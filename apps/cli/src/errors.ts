import { isNativeError } from 'node:util/types';
import { CommanderError } from 'commander';
import { paintFor, wipe, type Io } from './io.ts';

/** Arguments that are wrong by themselves, whatever the files hold: exit code 2. */
export class UsageError extends Error {}

/** Work that failed: exit code 1. */
export class WorkError extends Error {}

/** A failure that the command has told of already: exit code 1 and nothing more to say. */
export class ReportedError extends Error {}

/** Work that the user stopped: exit code 130, as shells have it. */
export class InterruptedError extends Error {}

/** Why the operating system refused, in words. */
const refusals: Readonly<Record<string, string>> = {
  ENOENT: 'nothing there',
  EISDIR: 'a folder',
  ENOTDIR: 'a path through something that is no folder',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'a disk that cannot be written to',
  ENOSPC: 'a full disk',
};

/** What came of a file operation instead of what was expected, for a message. */
export function refusal(error: unknown): string {
  const code = isNativeError(error) && 'code' in error ? String(error.code) : undefined;
  return (code && refusals[code]) ?? code ?? String(error);
}

/** An error as one sentence on one line. */
export function sentence(error: unknown): string {
  const text = isNativeError(error) ? error.message || error.name : String(error);
  // Whatever a file or an argument smuggles into a message, the terminal gets no control characters.
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001F\u007F-\u009F]+/g, ' ').trim();
}

/** Tells of an error on stderr; with PVT_DEBUG=1 where it came from too. */
export function report(error: unknown, { stderr }: Io, what = ''): void {
  stderr.write(`${wipe(stderr)}${paintFor(stderr).red('pvt:')} ${what}${sentence(error)}\n`);
  if (process.env['PVT_DEBUG'] === '1' && isNativeError(error)) stderr.write(`${error.stack}\n`);
}

/** 0: done (help and version too), 1: the work failed, 2: the arguments are wrong, 130: stopped. Tells of the error where nobody did yet. */
export function exitCode(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ReportedError) return 1;
  report(error, io);
  if (error instanceof InterruptedError) return 130;
  return error instanceof UsageError ? 2 : 1;
}
