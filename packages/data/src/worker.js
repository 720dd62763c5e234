// Threads of Node know no TypeScript: from the sources they start here, in the built package this is worker.ts itself.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');
