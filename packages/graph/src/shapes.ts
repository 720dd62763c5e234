import { ShapeError } from '@pvt/core';
import type { Shape } from './value.ts';

export const sizeOf = (shape: Shape): number => shape.reduce((product, side) => product * side, 1);

/** A copy of a shape with another length along one axis. */
export const withSide = (shape: Shape, axis: number, side: number): number[] =>
  shape.map((old, i) => (i === axis ? side : old));

/** An operation that was called with inputs or attributes that it cannot have. */
export const invalidInput = (operation: string, expected: string, got: string): ShapeError =>
  new ShapeError(
    'operation-input-invalid',
    `${operation}: expected ${expected}, got ${got}; check the layer that calls it.`,
  );

/**
 * Asserts that an input has a shape; -1 stands for any side.
 *
 * @throws ShapeError if it has another shape, or is missing
 */
export function expectShape(
  operation: string,
  input: string,
  shape: Shape | undefined,
  expected: Shape,
): void {
  const matches =
    shape !== undefined &&
    shape.length === expected.length &&
    expected.every((side, axis) => side < 0 || side === shape[axis]);
  if (!matches)
    throw invalidInput(operation, `${input} of shape [${expected}]`, shape ? `[${shape}]` : 'no such input');
}

/** @throws ShapeError if the attribute is not an integer of at least `minimum` */
export function integerAttribute(operation: string, name: string, value: unknown, minimum: number): number {
  if (!(typeof value === 'number' && Number.isInteger(value) && value >= minimum && value < 2 ** 31))
    throw invalidInput(operation, `${name} to be an integer of at least ${minimum}`, String(value));
  return value;
}

/** @throws ShapeError if the attribute is none of `choices` */
export function choiceAttribute<T extends string>(
  operation: string,
  name: string,
  value: unknown,
  choices: readonly T[],
): T {
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined)
    throw invalidInput(operation, `${name} among ${choices.join(', ')}`, String(value));
  return choice;
}

/**
 * An axis counted from the front.
 *
 * @throws ShapeError if the shape has no such axis
 */
export function axisAttribute(operation: string, value: unknown, shape: Shape): number {
  const axis = typeof value === 'number' && value < 0 ? value + shape.length : value;
  if (!(typeof axis === 'number' && Number.isInteger(axis) && axis >= 0 && axis < shape.length))
    throw invalidInput(operation, `an axis of [${shape}]`, String(value));
  return axis;
}

/** Pixels along one side of a convolution's output. */
export function convolvedSide(side: number, kernel: number, stride: number, padding: number): number {
  return Math.max(0, Math.floor((side + 2 * padding - kernel) / stride) + 1);
}
