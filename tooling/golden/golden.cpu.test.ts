import { goldens, goldenSuite } from './suite.ts';

goldenSuite('cpu', goldens());
