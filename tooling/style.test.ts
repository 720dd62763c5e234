import { describe, expect, it } from 'vitest';
import { longLines, retiredNames, retiredWord } from './style.mjs';

const words = (code: string) =>
  retiredNames('code.ts', code).map(({ line, problem }) => `${line} ${problem}`);

describe('style', () => {
  it('counts characters, not bytes', () => {
    expect(longLines(`${'é'.repeat(110)}\n${'x'.repeat(111)}\r\n`)).toEqual([
      { line: 2, problem: '111 characters, 110 at most' },
    ]);
  });

  it('finds retired words in what is declared, whatever its kind', () => {
    const code = `const topGuesses = 1;\nfunction f(roomSize = 0, { keep }: T) {}\ninterface T { told: 1 }`;
    expect(words(code)).toEqual([
      '1 "topGuesses" contains "guess"; say prediction',
      '2 "roomSize" contains "room"; say allocator, scratch, budget or out',
      '2 "keep" contains "keep"; say retain, or maxDetections',
      '3 "told" contains "told"; say header or HeaderMetadata',
    ]);
  });

  it('leaves what others declare, and words that only begin alike', () => {
    expect(
      words('import { keep } from "a"; tf.keep(x); style.objectFit; const mushroom = placement.fitness;'),
    ).toEqual([]);
  });

  it('knows phrases of several words', () => {
    expect(retiredWord('upToMultiple')?.[0]).toBe('upTo');
    expect(retiredWord('setupTomato')).toBeUndefined();
  });
});
