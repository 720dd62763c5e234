export * from './config.ts';
export * from './errors.ts';
export * from './picture.ts';
export * from './random.ts';
export * from './params/source.ts';
export * from './params/spec.ts';
