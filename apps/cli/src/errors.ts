import { isNativeError } from 'node:util/types';
import { CommanderError } from 'commander';
import { paintFor, wipe, type Io } from './io.ts';

/** Arguments that are wrong whatever the files hold: exit code 2. */
export class UsageError extends Error {}

/** Work that failed: exit code 1. */
export class WorkError extends Error {}

/** A failure that the command has reported already: exit code 1 and no further message. */
export class ReportedError extends Error {}

/** Work that the user stopped: exit code 130, as shells have it. */
export class InterruptedError extends Error {}

/** Error codes of the operating system, in words. */
const refusals: Readonly<Record<string, string>> = {
  ENOENT: 'nothing there',
  EISDIR: 'a folder',
  ENOTDIR: 'a path through something that is no folder',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'a disk that cannot be written to',
  ENOSPC: 'a full disk',
};

/** What a file operation failed with, as the "got" of a message. */
export function refusal(error: unknown): string {
  const code = isNativeError(error) && 'code' in error ? String(error.code) : undefined;
  return (code && refusals[code]) ?? code ?? String(error);
}

/** An error as one sentence on one line. */
export function sentence(error: unknown): string {
  const text = isNativeError(error) ? error.message || error.name : String(error);
  // Files and arguments may put control characters into a message; the terminal must not get them.
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001F\u007F-\u009F]+/g, ' ').trim();
}

/** Writes an error to stderr, with PVT_DEBUG=1 its stack too. */
export function report(error: unknown, { stderr }: Io, what = ''): void {
  stderr.write(`${wipe(stderr)}${paintFor(stderr).red('pvt:')} ${what}${sentence(error)}\n`);
  if (process.env['PVT_DEBUG'] === '1' && isNativeError(error)) stderr.write(`${error.stack}\n`);
}

/** The exit code for an error, which is reported unless it has been: 0 for help and version, 1, 2 or 130. */
export function exitCode(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ReportedError) return 1;
  report(error, io);
  if (error instanceof InterruptedError) return 130;
  return error instanceof UsageError ? 2 : 1;
}
