export * from './config.ts';
export * from './errors.ts';
export * from './model.ts';
export * from './vision.ts';
export * from './random.ts';
export * from './layers/batchNorm.ts';
export * from './layers/convolution.ts';
export * from './layers/linear.ts';
export * from './layers/norm.ts';
export * from './ops/activation.ts';
export * from './ops/adaptiveAveragePool.ts';
export * from './ops/attention.ts';
export * from './ops/dropout.ts';
export * from './ops/layerNorm.ts';
export * from './ops/pipe.ts';
export * from './ops/resample.ts';
export { materialize, stateDict } from './params/materialize.ts';
export { toCheckpoint, toMemory, type Values } from './params/layout.ts';
export * from './params/source.ts';
export * from './params/spec.ts';
export { block, blockSpec } from './pvt/block.ts';
export { patchEmbed, patchEmbedSpec } from './pvt/patchEmbed.ts';
export {
  createPvt,
  featuresOf,
  pvt,
  pvtSpec,
  type Feature,
  type FeatureMap,
  type Pvt,
  type PvtOutput,
  type PvtRequest,
} from './pvt/pvt.ts';
export * from './pvt/cost.ts';
