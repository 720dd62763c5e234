// Node's threads do not run TypeScript: this file starts worker.ts from the sources. The built package
// replaces it by the compiled worker.ts itself.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');
