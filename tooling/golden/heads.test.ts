import { headGoldens, headSuite } from './headSuite.ts';

headSuite('wasm', headGoldens());
// tfjs's plain JavaScript backend rounds every partial sum, and needs a minute for the published backbone's
// detector.
headSuite(
  'cpu',
  headGoldens(({ name }) => name !== 'retinanet_torchvision_pvt_v2_b0_256x320_seed0'),
  1e-6,
);
