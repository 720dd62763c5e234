import { goldens, goldenSuite } from './suite.ts';

// In two files, for two workers: tfjs's plain JavaScript backend needs minutes for these.
goldenSuite('cpu', goldens().filter(({ config }) => config.version === 'v2'));
