import { cpuSuite } from './cpu.ts';

cpuSuite('v2');
