/** What a step of a plan does. Both the module that runs plans and the code that writes them read this list. */
export enum Operation {
  multiply,
  layerNorm,
  gelu,
  attention,
  depthwise,
  depthwiseMultiply,
  convolution,
  pack,
  binary,
  unary,
  copyBlocks,
  mean,
  transpose,
  softmaxRows,
}
