import { expect, it } from 'vitest';
import * as browser from './index.ts';
import * as node from './node.ts';

/** The compiler refuses a Node entry that lacks one of the browser's exports or has it with another type. */
const asInTheBrowser = node satisfies typeof browser;

it('exports in Node what the browser has, and what is about paths', () => {
  const names = Object.keys(asInTheBrowser);
  expect(names).toEqual(expect.arrayContaining(Object.keys(browser)));
  const only = names.filter((name) => !(name in browser));
  expect(only.sort()).toEqual(['defaultCacheFolder', 'folderCache', 'saveFolder']);
});
