import { checkpoints } from '@pvt/checkpoints';
import type { OpenRequest, TaskName } from './protocol.ts';

/** A model that comes along with the page. */
export interface EmbeddedModel {
  readonly name: string;
  /** The first task is what it was made for. */
  readonly tasks: readonly TaskName[];
  readonly about: string;
  readonly url: URL;
  readonly names?: readonly string[];
  /** Shorter side of its input in pixels, where the checkpoint does not tell. */
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
];

/** A slow device may be asked for less: `?side=64`. */
const side = Number(new URLSearchParams(location.search).get('side')) || undefined;

/** Shorter side of the input where nothing else is said. */
export const shortSides: Readonly<Record<TaskName, number | undefined>> = { classify: undefined, segment: side ?? 320, detect: side ?? 320, explore: side ?? 224, tune: undefined };

export const forTask = (task: TaskName): readonly EmbeddedModel[] => embedded.filter(({ tasks }) => tasks.includes(task));

/** What the worker is asked for to open an embedded model. */
export const embeddedRequest = (task: TaskName, { name, url, names, shortSide = shortSides[task] }: EmbeddedModel): OpenRequest => ({
  id: `${task} ${name} ${shortSide}`,
  task,
  title: name,
  from: { kind: 'embedded', url: url.href },
  ...(names && { names }),
  ...(shortSide !== undefined && { shortSide }),
});
