import { headGoldens, headSuite } from './headSuite.ts';

// The small ones: on a software rasteriser the published backbone takes minutes.
headSuite(
  'webgl',
  headGoldens(({ name }) => !/b0_\d/.test(name)),
  1e-6,
);
