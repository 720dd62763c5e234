import { labelsOf } from '@pvt/presets';
import { WorkError } from './errors.ts';
import { readText } from './files.ts';

const fail = (path: string, expected: string, got: string): never => {
  throw new WorkError(`--labels: expected ${expected} in ${path}, got ${got}; correct the file.`);
};

const isText = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '';

function fromJson(text: string, path: string): string[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return fail(
      path,
      'JSON, as its first character says,',
      error instanceof Error ? error.message : String(error),
    );
  }
  if (Array.isArray(json))
    return json.every(isText) ? json : fail(path, 'an array of names', 'something else among them');
  const object = json as Readonly<Record<string, unknown>>;
  return labelsOf(object['id2label'] === undefined ? { id2label: object } : object) ?? [];
}

/** A table with a header: its column of names, in the order of its column of indices if it has one. */
function fromTable(rows: readonly (readonly string[])[], path: string): string[] {
  const [header = [], ...body] = rows;
  const column = (...names: string[]) =>
    header.findIndex((cell) => names.includes(cell.trim().toLowerCase()));
  const name = column('names', 'name', 'labels', 'label', 'class');
  const index = column('index', 'id');
  if (name < 0) fail(path, 'a column called name or label', `the columns ${header.join(', ')}`);
  const labels = new Array<string>(body.length);
  for (const [line, row] of body.entries()) {
    const at = index < 0 ? line : Number(row[index]);
    const label = row[name];
    if (
      !(Number.isInteger(at) && at >= 0 && at < body.length) ||
      labels[at] !== undefined ||
      !isText(label)
    ) {
      return fail(
        path,
        `every class from 0 to ${body.length - 1} once`,
        `"${row.join(' ')}" in line ${line + 2}`,
      );
    }
    labels[at] = label;
  }
  return labels;
}

/** @throws WorkError if there are fewer or more names than classes */
export function checkLabels(labels: readonly string[], classes: number): void {
  if (labels.length === classes) return;
  throw new WorkError(
    `--labels: expected ${classes} names, as many as the model has classes, got ${labels.length}; ` +
      'give the labels that the model was trained with.',
  );
}

/**
 * Class names by index: one a line, a JSON array, a JSON object by index (or a Hugging Face config.json), or
 * columns separated by tabs under a header.
 *
 * @throws WorkError if the file does not name the classes, ConfigError if a JSON object skips one
 */
export async function readLabels(path: string): Promise<readonly string[]> {
  const text = (await readText(path, 'labels')).trim();
  if (text === '') fail(path, 'class names', 'an empty file');
  if (text.startsWith('[') || text.startsWith('{')) return fromJson(text, path);
  const rows = text.split(/\r?\n/).map((line) => line.split('\t'));
  if (rows[0]!.length > 1) return fromTable(rows, path);
  const gap = rows.findIndex(([label]) => !isText(label));
  return gap < 0
    ? rows.map(([label]) => label!.trim())
    : fail(path, 'a name in every line', `an empty line ${gap + 1}`);
}
