/** A seeded stream of random numbers; the same seed gives the same stream everywhere. */
export interface Random {
  /** Next number, uniform in [0, 1). */
  uniform(): number;
  /** Next number, normal with mean 0 and variance 1. */
  normal(): number;
  /** A stream that continues as this one would. */
  clone(): Random;
}

/** 32-bit FNV-1a over UTF-16 code units: spreads a readable seed over the generator's state. */
function hash(text: string, basis: number): number {
  let state = basis;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  return state >>> 0;
}

/**
 * A stream of random numbers from a seed: sfc32, Doty-Humphrey's small fast counting generator; normals by
 * Box and Muller.
 *
 * @example
 * const random = createRandom(7);
 * random.uniform();
 */
export function createRandom(seed: number | string): Random {
  const text = String(seed);
  const stream = continueFrom([hash(text, 0x811c9dc5), hash(text, 0x9e3779b9), hash(text, 0x85ebca6b), 1]);
  // The first outputs still show the seed's structure.
  for (let i = 0; i < 12; i++) stream.uniform();
  return stream;
}

function continueFrom(
  [a, b, c, counter]: readonly [a: number, b: number, c: number, counter: number],
  spare?: number,
): Random {
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  };
  return {
    uniform: () => next() / 4294967296,
    normal() {
      if (spare !== undefined) {
        const value = spare;
        spare = undefined;
        return value;
      }
      // (next + 1) / 2^32 is in (0, 1], so the logarithm is finite.
      const radius = Math.sqrt(-2 * Math.log((next() + 1) / 4294967296));
      const angle = (2 * Math.PI * next()) / 4294967296;
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
    clone: () => continueFrom([a, b, c, counter], spare),
  };
}
