import { PvtError } from '@pvt/core';
import { transferHandlers, type TransferHandler } from 'comlink';
import type { ErrorRecord } from '../protocol.ts';
import { contextLost } from './backends.ts';

/** How engines and drivers say that memory has run out; tfjs passes their words on. */
const exhausted =
  /out of memory|memory access out of bounds|cannot enlarge|allocation failed|array buffer allocation|invalid array length|unable to create webgltexture|^aborted\(/i;

/** What the page is told of an error: its name, its code and its sentence. */
export function recordOf(error: unknown): ErrorRecord {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
  if (name === 'AbortError') return { name, code: 'aborted', message };
  if (contextLost()) return { name, code: 'device-lost', message };
  if (error instanceof PvtError) return { name, code: error.code, message };
  if (error instanceof RangeError || exhausted.test(message)) return { name, code: 'out-of-memory', message };
  return { name, code: 'unexpected', message };
}

/** Comlink carries an error's message alone; with this its code crosses too. */
export function carryErrors(): void {
  const throwing = transferHandlers.get('throw') as TransferHandler<{ readonly value: unknown }, unknown>;
  transferHandlers.set('throw', {
    ...throwing,
    serialize: ({ value }) => [{ isError: false, value: recordOf(value) }, []],
  });
}
