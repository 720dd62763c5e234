import * as tf from '@tensorflow/tfjs-core';
import type { Detection } from '@pvt/heads';
import { useBackend, type BackendName } from '@pvt/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { headOutputs, type GoldenDetections, type HeadGolden } from './heads.ts';
import { deviation, directly, type Run } from './suite.ts';

const fixtures = import.meta.glob<HeadGolden>('./fixtures/heads/*.json', { eager: true, import: 'default' });

/** Every golden of a neck or head that `wanted` takes. */
export const headGoldens = (wanted: (golden: HeadGolden) => boolean = () => true): HeadGolden[] =>
  Object.values(fixtures).filter(wanted);

/** float32 against float64, as a share of the tensor's largest value. */
const tolerance = 2e-5;

/**
 * Our detections in the reference's order. Where two of its scores are closer than `noise`, either may come
 * first.
 */
function inOrder(
  found: readonly Detection[],
  { scores, labels, boxes }: GoldenDetections,
  noise: number,
): Detection[] {
  const left = new Set(found);
  return scores.map((score, i) => {
    const near = [...left].filter((_, j) => j === 0 || Math.abs(scores[i + j]! - score) <= noise);
    const same =
      near.find(({ label, box }) => label === labels[i] && Math.abs(box[0] - boxes[i]![0]!) <= 0.01) ??
      near[0]!;
    left.delete(same);
    return same;
  });
}

/**
 * Asserts all outputs of the goldens on a backend: tensors, boxes and scores within the tolerance, labels and
 * their order exactly.
 *
 * @param noise of the backend's float32 sums, in scores
 */
export function headSuite(
  backend: BackendName,
  some: readonly HeadGolden[],
  noise = 0,
  run: Run = directly,
): void {
  describe(`necks and heads on ${backend}`, () => {
    beforeAll(() => useBackend(backend));
    afterAll(() => expect(tf.memory().numTensors, 'tensors left behind').toBe(0));

    it.each(some.map((golden) => [golden.name, golden] as const))('%s', async (_, golden) => {
      tf.engine().startScope();
      const { tensors, detections, labels } = await headOutputs(golden, run);
      const far: string[] = [];
      for (const [name, expected] of Object.entries(golden.outputs)) {
        const difference = await deviation(tensors.get(name)!, expected);
        if (!(difference <= tolerance * expected.maxAbs!))
          far.push(`${name} by ${difference / expected.maxAbs!}`);
      }
      expect(far, `outputs further than ${tolerance} of their largest value`).toEqual([]);
      tf.engine().endScope();

      if (golden.detections !== undefined) {
        const { boxes, scores, labels } = golden.detections;
        const largest = Math.max(...boxes.flat());
        expect(detections).toHaveLength(labels.length);
        const ordered = inOrder(detections!, golden.detections, noise);
        expect(ordered.map(({ label }) => label)).toEqual(labels);
        expect(
          Math.max(...ordered.flatMap(({ box }, i) => box.map((side, k) => Math.abs(side - boxes[i]![k]!)))) /
            largest,
        ).toBeLessThanOrEqual(tolerance);
        expect(
          Math.max(...ordered.map(({ score }, i) => Math.abs(score - scores[i]!))) / Math.max(...scores),
        ).toBeLessThanOrEqual(tolerance);
      }
      if (golden.labels !== undefined) {
        expect(Uint8Array.from(labels!.labels)).toEqual(
          Uint8Array.from(atob(golden.labels), (c) => c.charCodeAt(0)),
        );
      }
    });
  });
}
