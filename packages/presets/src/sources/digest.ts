import type { ReadableFile } from '../formats/readableFile.ts';

/** A file's SHA-256, or Git's SHA-1 of it, in hexadecimal. */
export type Digest = `sha256:${string}` | `git:${string}`;

/** Hexadecimal hash of a prefix and a file's content; undefined if the platform has none. */
export type Hash = (
  algorithm: 'SHA-1' | 'SHA-256',
  prefix: Uint8Array,
  file: ReadableFile,
) => Promise<string | undefined>;

/** A file's hash, as a digest of that kind states it. */
export const digestOf = (
  hash: Hash,
  kind: 'sha256' | 'git',
  file: ReadableFile,
): Promise<string | undefined> =>
  kind === 'sha256'
    ? hash('SHA-256', new Uint8Array(0), file)
    : hash('SHA-1', new TextEncoder().encode(`blob ${file.size}\0`), file);

/** Hash by the Web Crypto API, which needs its input in one piece and exists on secure pages only. */
export const webHash: Hash = async (algorithm, prefix, file) => {
  const subtle: SubtleCrypto | undefined = globalThis.crypto.subtle;
  if (subtle === undefined) return undefined;
  const content = await file.read(0, file.size);
  const input = prefix.length === 0 ? content : new Uint8Array([...prefix, ...content]);
  return Array.from(
    new Uint8Array(await subtle.digest(algorithm, input as Uint8Array<ArrayBuffer>)),
    (byte) => byte.toString(16).padStart(2, '0'),
  ).join('');
};
