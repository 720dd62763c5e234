import type { Image, LabelMap, LabelledBox, Size } from '@pvt/core';

/** What a data set is for: a class per image, a class per pixel, or boxes with classes. */
export const tasks = ['classify', 'segment', 'detect'] as const;
export type Task = (typeof tasks)[number];

/** The truth about an image, by task. */
export interface Targets {
  readonly classify: number;
  readonly segment: LabelMap;
  readonly detect: readonly LabelledBox[];
}
export type Target = Targets[Task];

/** A label map that still lies in a file, as indices of classes or, where `foreground`, as 0 and 255 for the classes 0 and 1. */
export interface Mask<Source> {
  readonly mask: Source;
  readonly foreground: boolean;
}

/** The truth about an image as a data set keeps it: label maps may wait in their files. */
export interface Annotations<Source> {
  readonly classify: number;
  readonly segment: Mask<Source> | LabelMap;
  readonly detect: readonly LabelledBox[];
}

/** One image and what it shows. */
export interface Sample<K extends Task, Source> {
  /** The image's path in its data set, for people. */
  readonly name: string;
  /** Where the pixels are, or the pixels. */
  readonly source: Source | Image;
  readonly target: Annotations<Source>[K];
  /** Size that the target was drawn for, where a file says so. */
  readonly size?: Size;
}

/** Labelled images as plain data; nothing is decoded before it is needed. */
export interface DataSet<K extends Task, Source = string> {
  readonly task: K;
  /** Names of classes by index. */
  readonly classes: readonly string[];
  readonly samples: readonly Sample<K, Source>[];
}

/** How files are opened on a platform. */
export interface Opener<Source> {
  image(source: Source): Promise<Image>;
  bytes(source: Source): Promise<Uint8Array>;
}
