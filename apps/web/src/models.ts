import { checkpoints } from '@pvt/checkpoints';
import { microscopy } from '@pvt/checkpoints-microscopy';
import type { OpenRequest, TaskName } from './protocol.ts';

/** A model that comes along with the page. */
export interface EmbeddedModel {
  readonly name: string;
  /** The first task is what it was made for. */
  readonly tasks: readonly TaskName[];
  readonly about: string;
  readonly url: URL;
  /** Shorter side of its input in pixels, of segmenters and detectors. */
  readonly shortSide?: number;
}

/** The first one that serves a task is what the task starts with. */
export const embedded: readonly EmbeddedModel[] = [
  {
    name: 'pvt_v2_nano.cifar10',
    tasks: ['classify', 'explore', 'tune'],
    about: 'a demonstration: the ten classes of CIFAR-10, at 64 px',
    url: checkpoints['pvt_v2_nano.cifar10'].url,
  },
  {
    name: 'pvt_v2_nano.nuclei',
    tasks: ['segment', 'explore'],
    about: microscopy['pvt_v2_nano.nuclei'].about,
    url: microscopy['pvt_v2_nano.nuclei'].url,
    shortSide: 256,
  },
  {
    name: 'pvt_v2_nano.bccd',
    tasks: ['detect', 'explore'],
    about: microscopy['pvt_v2_nano.bccd'].about,
    url: microscopy['pvt_v2_nano.bccd'].url,
    shortSide: 240,
  },
];

/** A slow device may be asked for less: `?side=64`. */
const side = Number(new URLSearchParams(location.search).get('side')) || undefined;

/** Shorter side of the input where nothing else is said. */
export const shortSides: Readonly<Record<TaskName, number | undefined>> = {
  classify: undefined,
  segment: side ?? 320,
  detect: side ?? 320,
  explore: side ?? 224,
  tune: undefined,
};

export const forTask = (task: TaskName): readonly EmbeddedModel[] =>
  embedded.filter(({ tasks }) => tasks.includes(task));

/** What the worker is asked for to open an embedded model. */
export function embeddedRequest(
  task: TaskName,
  { name, tasks, url, shortSide: own }: EmbeddedModel,
): OpenRequest {
  const shortSide = side !== undefined || task !== tasks[0] ? shortSides[task] : (own ?? shortSides[task]);
  return {
    id: `${task} ${name} ${shortSide}`,
    task,
    title: name,
    from: { kind: 'embedded', url: url.href },
    ...(shortSide !== undefined && { shortSide }),
  };
}
