export {
  gridSizes,
  linearPoolSize,
  pvtConfig,
  type Activation,
  type NormEpsilon,
  type PvtConfig,
  type PvtConfigInput,
  type PvtV1Config,
  type PvtV2Config,
} from './config.ts';
export * from './errors.ts';
export * from './model.ts';
export * from './vision.ts';
export * from './random.ts';
export * from './layers/batchNorm.ts';
export * from './layers/convolution.ts';
export * from './layers/linear.ts';
export * from './layers/norm.ts';
export { gelu } from './ops/activation.ts';
export * from './ops/adaptiveAveragePool.ts';
export * from './ops/attention.ts';
export * from './ops/dropout.ts';
export * from './ops/layerNorm.ts';
export * from './ops/pipe.ts';
export * from './ops/resample.ts';
export { materialize, stateDict } from './params/materialize.ts';
export { toCheckpointLayout, toTensorLayout, type TensorData } from './params/layout.ts';
export { fromStateDict, randomInit, scoped, type ParamSource, type StateDict } from './params/source.ts';
export {
  countParams,
  isParamSpec,
  leavesOf,
  sizeOf,
  type Initializer,
  type Layout,
  type ParamSpec,
  type ParamsOf,
  type Spec,
} from './params/spec.ts';
export { block, blockSpec } from './pvt/block.ts';
export { classifierSpec, pvtClassifierSpec } from './pvt/classifier.ts';
export * from './pvt/cost.ts';
export { patchEmbed, patchEmbedSpec, type EmbeddedPatches } from './pvt/patchEmbed.ts';
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
