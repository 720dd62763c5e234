export { operationNames, operations } from './operations.ts';
export type { AttributesOf, InputsOf, Operation, OperationName, OperationOf } from './operations.ts';
export { record, type Graph } from './record.ts';
export { flattenTensors, mapTensors } from './structure.ts';
export type { ComputedValue, ConstantValue, InputValue, Shape, Value, WeightValue } from './value.ts';
