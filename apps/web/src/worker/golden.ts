import type { Golden } from '@pvt/golden/golden.ts';

/** Logits that the official code (whai362/PVT@57e2dfa) computes in float64 on generated weights and input. */
export const golden = {
  naming: 'official',
  config: {
    version: 'v2',
    dims: [16, 32, 40, 64],
    depths: [1, 1, 1, 1],
    heads: [1, 2, 5, 8],
    mlpRatios: [8, 8, 4, 4],
    reductions: [8, 4, 2, 1],
    imageSize: [64, 64],
    classes: 10,
    linear: false,
  },
  seed: 0,
  input: [2, 3, 64, 64],
  /** Base64 of little-endian float32. */
  logits:
    'pvbCviQqcb8Ziy8+BDHav3A3uz59oRXApt3hPu0otzqN10S/53PfP4Aq7749RFk/' +
    'd0S2P6RVL7+Hp4y/jfnsv1QUmr4dEj2/N3Rrv52Jlj8=',
} as const satisfies Pick<Golden, 'naming' | 'config' | 'seed' | 'input'> & { readonly logits: string };
