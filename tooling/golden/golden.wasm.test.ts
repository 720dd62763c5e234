import { goldens, goldenSuite } from './suite.ts';

goldenSuite('wasm', goldens());
