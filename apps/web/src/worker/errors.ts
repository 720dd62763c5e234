import { PvtError } from '@pvt/core';
import { transferHandlers, type TransferHandler } from 'comlink';
import type { ErrorRecord } from '../protocol.ts';
import { contextLost } from './backends.ts';

/** How browsers and drivers report that memory has run out; tfjs passes their messages on. */
const outOfMemory = new RegExp(
  [
    'out of memory',
    'memory access out of bounds',
    'cannot enlarge',
    'allocation failed',
    'array buffer allocation',
    'invalid array length',
    'unable to create webgltexture',
    String.raw`^aborted\(`,
  ].join('|'),
  'i',
);

/** Turns anything that was thrown into the record that the page receives. */
export function errorRecord(thrown: unknown): ErrorRecord {
  const { name, message } = thrown instanceof Error ? thrown : { name: 'Error', message: String(thrown) };
  return { name, code: codeOf(thrown, name, message), message };
}

function codeOf(thrown: unknown, name: string, message: string): string {
  if (name === 'AbortError') return 'aborted';
  if (contextLost()) return 'device-lost';
  if (thrown instanceof PvtError) return thrown.code;
  if (thrown instanceof RangeError || outOfMemory.test(message)) return 'out-of-memory';
  return 'unexpected';
}

/** Makes comlink transfer an error's code too; by itself it transfers the message only. */
export function transferErrorCodes(): void {
  const throwing = transferHandlers.get('throw') as TransferHandler<{ readonly value: unknown }, unknown>;
  transferHandlers.set('throw', {
    ...throwing,
    serialize: ({ value }) => [{ isError: false, value: errorRecord(value) }, []],
  });
}
