import { describe, expect, it } from 'vitest';
import { getModel } from '../models.ts';
import { defaultCacheFolder } from './folderCache.ts';
import { catalogue, listCheckpoints } from './catalogue.ts';
import { trackProgress, type LoadProgress } from './progress.ts';
import { parseReference } from './reference.ts';

const endpoint = 'https://huggingface.co';

describe('the catalogue', () => {
  it('has every published checkpoint twice, with the accuracy of its variant', () => {
    expect(listCheckpoints('*.in1k')).toHaveLength(11);
    expect(listCheckpoints('*.official')).toHaveLength(11);
    expect(listCheckpoints('pvt_v2_b2*.in1k')).toEqual(['pvt_v2_b2.in1k', 'pvt_v2_b2_li.in1k']);
    for (const [name, { model, top1 }] of Object.entries(catalogue)) {
      expect(name.startsWith(`${model}.`)).toBe(true);
      expect(top1).toBe(getModel(model).top1);
    }
  });

  it('knows where they are', () => {
    expect(catalogue['pvt_v2_b2_li.in1k'].hub).toBe('timm/pvt_v2_b2_li.in1k');
    expect(catalogue['pvt_medium.in1k'].hub).toBe('Zetatech/pvt-medium-224');
    expect(catalogue['pvt_large.official'].url).toBe(
      'https://github.com/whai362/PVT/releases/download/v2/pvt_large.pth',
    );
  });
});

describe('a reference', () => {
  it.each([
    ['pvt_tiny.in1k', { hub: { repo: 'Zetatech/pvt-tiny-224', revision: 'main' } }],
    ['pvt_v2_b5', { hub: { repo: 'timm/pvt_v2_b5.in1k', revision: 'main' } }],
    [
      'pvt_v2_b5.official',
      { url: new URL('https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b5.pth') },
    ],
    ['me/mine', { hub: { repo: 'me/mine', revision: 'main' } }],
    ['me/mine@refs/pr/3', { hub: { repo: 'me/mine', revision: 'refs/pr/3' } }],
    ['https://huggingface.co/me/mine', { hub: { repo: 'me/mine', revision: 'main' } }],
    [
      'https://huggingface.co/me/mine/resolve/refs%2Fpr%2F3/a/b.pth?download=true',
      { hub: { repo: 'me/mine', revision: 'refs/pr/3', file: 'a/b.pth' } },
    ],
    [
      'https://huggingface.co.evil.example/me/mine',
      { url: new URL('https://huggingface.co.evil.example/me/mine') },
    ],
    ['https://host.example/a.pth', { url: new URL('https://host.example/a.pth') }],
  ])('%s', (text, expected) => {
    expect(parseReference(text, endpoint)).toEqual(expected);
  });

  it.each(['', 'pvt', 'a/b/c', '__proto__', 'toString', 'javascript:alert(1)'])('%j is none', (text) => {
    expect(() => parseReference(text, endpoint)).toThrow(expect.objectContaining({ code: 'source-unknown' }));
  });
});

it('the cache folder is where the platform wants it', () => {
  expect(defaultCacheFolder({ PVT_CACHE: '/elsewhere', XDG_CACHE_HOME: '/xdg' }, 'linux')).toBe('/elsewhere');
  expect(defaultCacheFolder({ XDG_CACHE_HOME: '/xdg' }, 'linux')).toBe('/xdg/pvt');
  expect(defaultCacheFolder({ XDG_CACHE_HOME: 'relative' }, 'linux')).toMatch(/\/\.cache\/pvt$/);
  expect(defaultCacheFolder({}, 'darwin')).toMatch(/\/Library\/Caches\/pvt$/);
  expect(defaultCacheFolder({ LOCALAPPDATA: '/local' }, 'win32')).toBe('/local/pvt/Cache');
});

describe('progress', () => {
  it('is one total, with the rate of the last five seconds of what came over the network', () => {
    let now = 0;
    const reports: LoadProgress[] = [];
    const progress = trackProgress(
      [
        { name: 'config.json', size: 100 },
        { name: 'weights', size: 900 },
      ],
      (at) => reports.push(at),
      () => now,
    );
    progress.update('config.json', 100);
    expect(reports).toEqual([
      {
        file: 'config.json',
        files: 2,
        loaded: 100,
        total: 1000,
        bytesPerSecond: undefined,
        secondsLeft: undefined,
      },
    ]);
    now = 1000;
    progress.update('weights', 300, 200);
    expect(reports.at(-1)).toEqual({
      file: 'weights',
      files: 2,
      loaded: 400,
      total: 1000,
      bytesPerSecond: 200,
      secondsLeft: 3,
    });
    now = 1050;
    progress.update('weights', 310, 10);
    expect(reports).toHaveLength(2);
    now = 10_000;
    progress.update('weights', 310);
    now = 11_000;
    progress.update('weights', 410, 100);
    expect(reports.at(-1)).toMatchObject({ bytesPerSecond: 100, secondsLeft: 4.9 });
    progress.done();
    expect(reports.at(-1)).toMatchObject({ loaded: 510, total: 510 });
  });

  it('has no total while a size is unknown', () => {
    const reports: LoadProgress[] = [];
    const progress = trackProgress(
      [{ name: 'weights' }],
      (at) => reports.push(at),
      () => 0,
    );
    progress.update('weights', 10, 10);
    progress.done();
    expect(reports.map(({ total }) => total)).toEqual([undefined, 10]);
  });
});
