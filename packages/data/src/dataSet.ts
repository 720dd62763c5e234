import type { Image, LabelledBox, LabelMap, Size } from '@pvt/core';

/** What a data set is for: a class per image, a class per pixel, or boxes with classes. */
export const tasks = ['classify', 'segment', 'detect'] as const;
export type Task = (typeof tasks)[number];

/** The ground truth of an image, by task. */
export interface Targets {
  readonly classify: number;
  readonly segment: LabelMap;
  readonly detect: readonly LabelledBox[];
}
export type Target = Targets[Task];

/** A decoded image and its target, in the image's own pixels. */
export interface LabelledImage<T extends Target = Target> {
  readonly image: Image;
  readonly target: T;
}

/** Where a file is: a path in Node or a URL in a browser, or its content. */
export type FileSource = string | Blob;

/**
 * A label map that is still in its file: class indices, or with `foreground` 0 and 255 for the classes 0 and
 * 1.
 */
export interface Mask<Source = FileSource> {
  readonly mask: Source;
  readonly foreground: boolean;
}

/** The target of an image as a data set holds it: label maps may still be in their files. */
export interface Annotations<Source = FileSource> {
  readonly classify: number;
  readonly segment: Mask<Source> | LabelMap;
  readonly detect: readonly LabelledBox[];
}

/** One image and its target. */
export interface Sample<K extends Task, Source = FileSource> {
  /** The image's path in its data set, used in messages. */
  readonly name: string;
  /** The image's file, or its pixels. */
  readonly source: Source | Image;
  readonly target: Annotations<Source>[K];
  /** Size of the image that was annotated, if a file states it. */
  readonly size?: Size;
}

/** Labelled images as plain data; nothing is decoded before it is needed. */
export interface DataSet<K extends Task, Source = FileSource> {
  readonly task: K;
  /** Class names by index. */
  readonly classes: readonly string[];
  readonly samples: readonly Sample<K, Source>[];
}

/** How files are read on a platform. */
export interface SourceReader<Source = FileSource> {
  readImage(source: Source): Promise<Image>;
  readBytes(source: Source): Promise<Uint8Array>;
}
