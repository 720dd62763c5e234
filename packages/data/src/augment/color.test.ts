import { describe, expect, it } from 'vitest';
import { adjustColor } from './color.ts';

const same = { brightness: 1, contrast: 1, saturation: 1, hue: 0 };
const pixels = (...data: number[]) => ({ width: data.length / 3, height: 1, data: Uint8Array.from(data) });

describe('adjustColor', () => {
  const image = pixels(200, 30, 60, 10, 90, 250, 128, 128, 128);

  it('changes nothing with factors of 1', () => {
    expect(adjustColor(image, same)).toEqual(image);
  });

  it('multiplies and clips by brightness', () => {
    expect([...adjustColor(image, { ...same, brightness: 1.5 }).data]).toEqual([
      255, 45, 90, 15, 135, 255, 192, 192, 192,
    ]);
    expect([...adjustColor(image, { ...same, brightness: 0 }).data]).toEqual(Array(9).fill(0));
  });

  it('becomes the mean gray without contrast', () => {
    // 0.299 R + 0.587 G + 0.114 B of the mean color (50, 100, 150).
    expect([...adjustColor(pixels(0, 100, 200, 100, 100, 100), { ...same, contrast: 0 }).data]).toEqual(
      Array(6).fill(91),
    );
  });

  it('makes each pixel its own gray without saturation', () => {
    expect([...adjustColor(pixels(50, 100, 150, 255, 255, 255), { ...same, saturation: 0 }).data]).toEqual([
      91, 91, 91, 255, 255, 255,
    ]);
  });

  it('rotates hues and back, and preserves grays and brightness', () => {
    const red = pixels(160, 90, 90, 128, 128, 128);
    const third = adjustColor(red, { ...same, hue: 1 / 3 });
    expect([...third.data.subarray(3)]).toEqual([128, 128, 128]);
    const luma = ({ data }: { data: Uint8Array }) => 0.299 * data[0]! + 0.587 * data[1]! + 0.114 * data[2]!;
    expect(Math.abs(luma(third) - luma(red))).toBeLessThan(1);
    // Green is a third of the circle away from red.
    expect(third.data[1]!).toBeGreaterThan(Math.max(third.data[0]!, third.data[2]!));
    const back = adjustColor(adjustColor(third, { ...same, hue: 1 / 3 }), { ...same, hue: 1 / 3 });
    back.data.forEach((value, i) => expect(Math.abs(value - red.data[i]!)).toBeLessThanOrEqual(2));
  });
});
