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

/** 32-bit words of a step of a plan: its operation, items, items of a share, shares taken, and what the operation needs. */
export const stepWords = 20;
