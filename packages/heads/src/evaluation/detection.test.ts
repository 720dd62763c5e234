import type { Box, LabelledBox } from '@pvt/core';
import { describe, expect, it } from 'vitest';
import { scoreDetections } from './detection.ts';

const at = (left: number, side = 10): Box => [left, 0, left + side, 10];
const found = (box: Box, score: number, label = 0) => ({ box, score, label });
const objects = (...boxes: Box[]): LabelledBox[] => boxes.map((box) => ({ box, label: 0 }));

describe('scoreDetections, by hand', () => {
  it('is 1 for what is right and 0 for what is not', () => {
    expect(scoreDetections([{ detections: [found(at(0), 0.9)], targets: objects(at(0)) }])).toMatchObject({
      mAP: 1,
      mAP50: 1,
      mAP75: 1,
    });
    expect(scoreDetections([{ detections: [found(at(50), 0.9)], targets: objects(at(0)) }])).toMatchObject({
      mAP: 0,
      mAP50: 0,
    });
    expect(scoreDetections([{ detections: [], targets: objects(at(0)) }]).mAP).toBe(0);
    expect(scoreDetections([{ detections: [found(at(0), 0.9)], targets: [] }]).mAP).toBe(NaN);
  });

  it('counts an IoU of 0.6 at the thresholds 0.5, 0.55 and 0.6', () => {
    // 7.5 of 12.5: intersection over union 0.6.
    const { mAP, mAP50, mAP75 } = scoreDetections([
      { detections: [found(at(2.5), 0.9)], targets: objects(at(0)) },
    ]);
    expect(mAP50).toBe(1);
    expect(mAP75).toBe(0);
    expect(mAP).toBeCloseTo(0.3, 12);
  });

  it('interpolates precision over 101 recalls', () => {
    // Right, wrong, right, of three objects: precision 1 to a recall of 1/3 (34 points), 2/3 to 2/3 (33
    // points), then 0.
    const pair = {
      detections: [found(at(0), 0.9), found(at(100), 0.8), found(at(20), 0.7)],
      targets: objects(at(0), at(20), at(40)),
    };
    expect(scoreDetections([pair]).mAP50).toBeCloseTo((34 + 33 * (2 / 3)) / 101, 12);
  });

  it('counts a second detection of an object as wrong, and sorts detections of all images by score', () => {
    const twice = { detections: [found(at(0), 0.9), found(at(0), 0.8)], targets: objects(at(0)) };
    expect(scoreDetections([twice]).mAP50).toBe(1);
    // 0.9 right, 0.8 wrong, 0.5 right: precision 1 to a recall of 1/2 (51 points), then 2/3 (50 points).
    expect(
      scoreDetections([twice, { detections: [found(at(0), 0.5)], targets: objects(at(0)) }]).mAP50,
    ).toBeCloseTo((51 + 50 * (2 / 3)) / 101, 12);
  });

  it('has the thresholds of pycocotools to the last bit', () => {
    // pycocotools 2.0.11 on 7 of 20 objects found, and on one box with an IoU of 17/20.
    const twenty = Array.from({ length: 20 }, (_, i) => at(20 * i));
    const seven = {
      detections: twenty.slice(0, 7).map((box) => found(box, 0.9)),
      targets: objects(...twenty),
    };
    expect(scoreDetections([seven]).mAP).toBeCloseTo(0.34653465346534656, 12);
    const wide = { detections: [found(at(0, 17), 0.9)], targets: objects(at(0, 20)) };
    expect(scoreDetections([wide]).mAP).toBeCloseTo(0.8, 12);
  });

  it('averages over the classes that have objects', () => {
    const pair = {
      detections: [found(at(0), 0.9), found(at(20), 0.9, 1), found(at(40), 0.9, 2)],
      targets: [
        { box: at(0), label: 0 },
        { box: at(60), label: 1 },
      ],
    };
    const { mAP50, byClass } = scoreDetections([pair]);
    expect(mAP50).toBe(0.5);
    expect([...byClass]).toEqual([
      [0, 1],
      [1, 0],
    ]);
  });

  it('leaves out what lies in a crowd', () => {
    const crowd: LabelledBox = { box: at(20, 40), label: 0, crowd: true };
    const pair = {
      detections: [found(at(20), 0.95), found(at(40), 0.9), found(at(0), 0.5)],
      targets: [crowd, ...objects(at(0))],
    };
    expect(scoreDetections([pair]).mAP50).toBe(1);
  });

  it('counts the best hundred of an image', () => {
    const many = Array.from({ length: 100 }, (_, i) => found(at(1000 + 20 * i), 0.9));
    const targets = objects(at(0));
    expect(scoreDetections([{ detections: [...many, found(at(0), 0.5)], targets }]).mAP50).toBe(0);
    expect(
      scoreDetections([{ detections: [...many.slice(1), found(at(0), 0.5)], targets: objects(at(0)) }]).mAP50,
    ).toBeCloseTo(0.01, 12);
  });
});
