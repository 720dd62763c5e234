import { gradientSuite } from './suite.ts';

gradientSuite('cpu');
gradientSuite('wasm');
