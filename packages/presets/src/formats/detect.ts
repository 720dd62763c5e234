import { CheckpointError } from '@pvt/core';
import { parseSafetensorsHeader, safetensorsHeaderEnd } from './safetensors.ts';
import { readRange, type Reading } from './readableFile.ts';
import type { TensorFile } from './tensorFile.ts';
import { readTorchLegacy, readTorchZip } from './torch/torch.ts';

const sample = 512;

const fail = (problem: string, got: string, remedy: string): never => {
  throw new CheckpointError(
    `file-${problem}`,
    `readCheckpoint: expected a safetensors or torch checkpoint, got ${got}; ${remedy}.`,
  );
};

const hasPrefix = (bytes: Uint8Array, ...prefix: number[]): boolean =>
  prefix.every((byte, i) => bytes[i] === byte);

/** Names files that people have instead of a checkpoint for what they are. */
function refuseOthers(start: Uint8Array): void {
  const text = new TextDecoder('latin1').decode(start);
  const again = 'download the file itself';
  if (/^(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body|title|script|!--)/i.test(text))
    fail('html', 'a web page', `the address leads to a page about the file or an error page: ${again}`);
  if (/^(?:\xef\xbb\xbf)?\s*<[?a-z]/i.test(text))
    fail('xml', 'an XML document', `some servers send errors so: ${again}`);
  if (text.startsWith('version https://git-lfs')) {
    const size = /^size (\d{1,15})$/m.exec(text)?.[1];
    fail(
      'lfs-pointer',
      `a Git LFS pointer${size === undefined ? '' : ` to a file of ${size} bytes`}`,
      'fetch what it points to with git lfs pull',
    );
  }
  if (/^\s*[{[]\s*["\]}[{]/.test(text)) {
    if (text.includes('"weight_map"'))
      fail(
        'shard-index',
        'the index of a checkpoint in several files',
        'give its folder, with the files that it names',
      );
    fail('json', 'a JSON file', 'give the file with the weights');
  }
  if (hasPrefix(start, 0x1f, 0x8b)) fail('gzip', 'a gzip archive', 'unpack it first');
  if (
    hasPrefix(start, 0x28, 0xb5, 0x2f, 0xfd) ||
    hasPrefix(start, 0xfd, 0x37, 0x7a, 0x58, 0x5a) ||
    hasPrefix(start, 0x42, 0x5a, 0x68) ||
    hasPrefix(start, 0x37, 0x7a, 0xbc, 0xaf)
  )
    fail('packed', 'a packed archive', 'unpack it first');
  if (text.slice(257, 262) === 'ustar') fail('tar', 'a tar archive', 'unpack it first');
  if (hasPrefix(start, 0x89, 0x48, 0x44, 0x46))
    fail('hdf5', 'an HDF5 file, as Keras writes it', 'save the weights as safetensors');
  // A protobuf whose first field is a small number, the version, and whose second is a text, the producer.
  if (start[0] === 0x08 && start[1]! <= 0x20 && (start[2] === 0x12 || start[2] === 0x3a))
    fail('onnx', 'an ONNX model', 'give the checkpoint that it was made from');
  if (hasPrefix(start, 0x47, 0x47, 0x55, 0x46))
    fail('gguf', 'a GGUF file', 'give the checkpoint that it was made from');
  if (/^(?:[\x20-\x7e\t\r\n]){9,}$/.test(text))
    fail('text', `the text ${JSON.stringify(text.trim().split('\n')[0]!.slice(0, 60))}`, again);
}

function* readSafetensors(fileSize: number): Reading<TensorFile> {
  const start = yield [0, Math.min(fileSize, 65_536)];
  const end = safetensorsHeaderEnd(start, fileSize);
  const { tensors, metadata } = parseSafetensorsHeader(
    end <= start.length ? start : yield [0, end],
    fileSize,
  );
  const stored = Array.from(
    tensors,
    ([name, { dtype, shape, range }]) =>
      [
        name,
        { dtype, shape, offset: 0, storage: { expensive: false, read: () => readRange(...range) } },
      ] as const,
  );
  return { format: 'safetensors', tensors: new Map(stored), metadata, skipped: [] };
}

/**
 * Recognises a file by its content, not its name, and reads all but the tensors' bytes.
 *
 * @throws CheckpointError with a code for each way in which a file can be broken, and for each other kind of
 *   file
 */
export function* readTensorFile(fileSize: number): Reading<TensorFile> {
  if (fileSize === 0) fail('empty', 'an empty file', 'the download failed, download it again');
  const start = yield [0, Math.min(fileSize, sample)];
  if (hasPrefix(start, 0x50, 0x4b, 0x03, 0x04)) return yield* readTorchZip(fileSize);
  if (hasPrefix(start, 0x50, 0x4b, 0x05, 0x06))
    fail('empty-zip', 'an empty zip archive', 'download the file again');
  if (start[0] === 0x80 && start[1]! >= 2 && start[1]! <= 5 && fileSize > 2)
    return yield* readTorchLegacy(fileSize);
  refuseOthers(start);
  return yield* readSafetensors(fileSize);
}
