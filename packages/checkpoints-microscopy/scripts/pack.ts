/** Writes a model that `pvt train` made as float16 into `files/`: pnpm pack-weights MODEL.safetensors NAME */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fromFloat32, parseSafetensors, toFloat32, writeSafetensors } from '@pvt/presets';

const [source, name] = process.argv.slice(2);
if (source === undefined || name === undefined)
  throw new Error(
    'pack-weights: expected a model and a name, got fewer; write pnpm pack-weights MODEL.safetensors NAME.',
  );
const { tensors, metadata } = parseSafetensors(readFileSync(source));
const packed = writeSafetensors(
  Array.from(tensors, ([path, entry]) => [path, fromFloat32(toFloat32(entry), entry.shape, 'F16')]),
  Object.fromEntries(metadata),
);
writeFileSync(new URL(`../files/${name}.safetensors`, import.meta.url), packed);
process.stdout.write(
  `${name}: bytes ${packed.length}, sha256 ${createHash('sha256').update(packed).digest('hex')}\n`,
);
