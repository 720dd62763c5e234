/** What `src/binary.ts` exports: the binaries of `assembly/` in base64, and what workers run. */
export function compile(): Promise<Record<string, string>>;
