export { gelu, geluGradient } from './activation';
export { attention, attentionGradient, attentionGradientScratch, attentionScratch } from './attention';
export {
  convolution,
  convolutionFilterGradient,
  convolutionInputGradient,
  convolutionScratch,
} from './convolution';
export { bandRows, depthwise, depthwiseFilterGradient, depthwiseScratch } from './depthwise';
export { layerNorm, layerNormGradient } from './norm';
export { addRows, multiply, multiplyScratch, multiplyTransposed, pack, panelBytes } from './product';
export { int8Bytes, narrow, packInt8 } from './weights';
