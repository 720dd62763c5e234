import { cpuSuite } from './cpu.ts';

cpuSuite('v1');
