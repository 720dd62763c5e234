import { checkpoints } from '@pvt/checkpoints';
import { microscopy } from '@pvt/checkpoints-microscopy';
import type { OpenRequest, TaskName } from './protocol.ts';

/** A model whose file is part of the page. */
export interface EmbeddedModel {
  readonly name: string;
  /** What it can be used for; the task that it was trained for comes first. */
  readonly tasks: readonly TaskName[];
  readonly description: string;
  readonly url: URL;
  /** Shorter side of its input in pixels. Default: the task's. */
  readonly shortSide?: number;
}

/** A task starts with the first model that can be used for it. */
export const embeddedModels: readonly EmbeddedModel[] = [
  {
    name: 'pvt_v2_nano.cifar10',
    tasks: ['classify', 'explore', 'tune'],
    description: 'a demonstration: the ten classes of CIFAR-10, at 64 px',
    url: checkpoints['pvt_v2_nano.cifar10'].url,
  },
  {
    name: 'pvt_v2_nano.nuclei',
    tasks: ['segment', 'explore'],
    description: microscopy['pvt_v2_nano.nuclei'].about,
    url: microscopy['pvt_v2_nano.nuclei'].url,
    shortSide: 256,
  },
  {
    name: 'pvt_v2_nano.bccd',
    tasks: ['detect', 'explore'],
    description: microscopy['pvt_v2_nano.bccd'].about,
    url: microscopy['pvt_v2_nano.bccd'].url,
    shortSide: 240,
  },
];

/** Shorter side for all tasks, for slow devices: `?side=64`. */
const requestedSide = Number(new URLSearchParams(location.search).get('side')) || undefined;

/** Shorter side of each task's input in pixels. A classifier's is in its checkpoint. */
export const defaultShortSides: Readonly<Record<TaskName, number | undefined>> = {
  classify: undefined,
  segment: requestedSide ?? 320,
  detect: requestedSide ?? 320,
  explore: requestedSide ?? 224,
  tune: undefined,
};

export const modelsForTask = (task: TaskName): readonly EmbeddedModel[] =>
  embeddedModels.filter(({ tasks }) => tasks.includes(task));

/** The request that opens an embedded model for a task. */
export function embeddedRequest(task: TaskName, model: EmbeddedModel): OpenRequest {
  const usesOwnSide = requestedSide === undefined && task === model.tasks[0];
  const shortSide = (usesOwnSide ? model.shortSide : undefined) ?? defaultShortSides[task];
  return {
    id: `${task} ${model.name} ${shortSide}`,
    task,
    title: model.name,
    location: { kind: 'embedded', url: model.url.href },
    ...(shortSide !== undefined && { shortSide }),
  };
}
