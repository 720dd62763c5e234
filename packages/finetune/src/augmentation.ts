import type { Size } from '@pvt/core';
import type { AugmentStep, Task } from '@pvt/data';

export interface AugmentationOptions {
  /** Shorter and longer side of the model's input in use. */
  readonly size: readonly [shorter: number, longer: number];
  /** [height, width] of the crops in training. */
  readonly crop: Size;
  /** Whether images look alike whichever way they are turned, as under a microscope. */
  readonly anyOrientation: boolean;
}

const color: AugmentStep = {
  kind: 'colorJitter',
  brightness: 0.2,
  contrast: 0.2,
  saturation: 0.2,
  hue: 0.02,
};
const mirror: AugmentStep = { kind: 'flip', horizontal: 0.5 };

/** The random changes of training images, by task, as published training recipes of each task have them. */
export function augmentationFor(
  task: Task,
  { size, crop, anyOrientation }: AugmentationOptions,
): readonly AugmentStep[] {
  const orientation: readonly AugmentStep[] = anyOrientation ? [{ kind: 'rotate90' }, mirror] : [mirror];
  // Factors for `scaledCrop`, relative to the scale at which an image is used.
  const scale = (least: number, most: number): [number, number] => {
    const factor = size[0] / Math.min(...crop);
    return [factor * least, factor * most];
  };
  const byTask: Record<Task, readonly AugmentStep[]> = {
    classify: [{ kind: 'resizedCrop', area: [0.5, 1] }, color, { kind: 'erase', probability: 0.1 }],
    segment: [{ kind: 'scaledCrop', scale: scale(0.75, 1.5) }, color],
    detect: [{ kind: 'scaledCrop', scale: scale(0.8, 1.25), minVisibility: 0.4 }, color],
  };
  return [...orientation, ...byTask[task]];
}
