import { gradientSuite } from './suite.ts';

gradientSuite('webgl');
