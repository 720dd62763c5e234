import { goldens, goldenSuite } from './suite.ts';

// The small models: on a software rasteriser the published ones take minutes.
const custom = goldens('custom');
goldenSuite('wasm', custom);
goldenSuite('webgl', custom);
goldenSuite('webgpu', custom);
