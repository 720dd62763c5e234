/**
 * What the page and its workers send each other. Imports from the packages are types only, so that the page's
 * own bundle contains no model code.
 */
import type { Cost, Feature, PvtConfig, PvtError, Size } from '@pvt/core';
import type { Prediction } from '@pvt/heads';
import type { NamedDetection } from '@pvt/tasks';
import type { DoneEvent, Snapshot, StepEvent } from '@pvt/training';

export const backendNames = ['webgpu', 'webgl', 'wasm', 'cpu'] as const;
export type BackendName = (typeof backendNames)[number];

export const taskNames = ['classify', 'segment', 'detect', 'explore', 'tune'] as const;
export type TaskName = (typeof taskNames)[number];

/** A forward pass that was timed: its multiply-adds and its duration in milliseconds. */
export interface Timing extends Pick<Cost, 'macs'> {
  readonly milliseconds: number;
}

/** The result of a backend's self-check. */
export interface Check {
  readonly backend: BackendName;
  /** Milliseconds until the backend was ready. */
  readonly start: number;
  /** Largest absolute difference between its logits and the reference logits. */
  readonly error: number;
  /** Whether the error is within the tolerance for float32. */
  readonly passed: boolean;
  /**
   * A pass over the small probe input, and over the large one if it was timed; shaders are already compiled.
   */
  readonly small: Timing;
  readonly large?: Timing;
}

/** How a backend is started. */
export interface StartOptions {
  /** Whether the large probe is timed too. */
  readonly timed: boolean;
  /** Skips the large probe if the small one takes longer, in milliseconds. Default: no limit. */
  readonly timeLimit?: number;
}

/** Where a checkpoint is read from. */
export type CheckpointLocation =
  /** A file that is part of the page. */
  | { readonly kind: 'embedded'; readonly url: string }
  /** A published name, a repository on the hub, or a URL. */
  | { readonly kind: 'name'; readonly name: string }
  /** One checkpoint file, or the files of a folder. */
  | { readonly kind: 'files'; readonly files: readonly File[] };

export interface OpenRequest {
  /** Requests with the same id are for the same model at the same input size. */
  readonly id: string;
  readonly task: TaskName;
  readonly title: string;
  readonly location: CheckpointLocation;
  /** Shorter side of the model's input in pixels. A classifier's is in its checkpoint. */
  readonly shortSide?: number;
  /** The first image that the model will run on: warm-up uses an input of its shape. */
  readonly image?: { readonly width: number; readonly height: number };
}

/** Milliseconds that each phase of opening a model took. */
export interface OpenTimes {
  readonly download: number;
  readonly load: number;
  readonly warmUp: number;
}

/** A model that is ready to use; parameters and multiply-adds are at its input size. */
export interface OpenedModel extends Pick<Cost, 'params' | 'macs'> {
  /** The variant, such as `pvt_v2_b0`. */
  readonly variant: string;
  readonly config: PvtConfig;
  /** How many of the checkpoint's parameters the task does not use. */
  readonly unused: number;
  readonly warnings: readonly string[];
  readonly milliseconds: OpenTimes;
}

export interface Classified {
  readonly predictions: readonly Prediction[];
  readonly milliseconds: number;
}

/** A class of a label map. */
export interface SegmentedClass extends Pick<Prediction, 'label' | 'name'> {
  /** Share of the image's pixels, between 0 and 1. */
  readonly share: number;
  /** CSS colour that it is drawn in. */
  readonly color: string;
}

export interface Segmented {
  /** As large as the image; transparent where nothing is drawn. */
  readonly overlay: ImageBitmap;
  /** Sorted by share, largest first. */
  readonly classes: readonly SegmentedClass[];
  readonly milliseconds: number;
}

export interface Detected {
  /** As large as the image; transparent where nothing is drawn. */
  readonly overlay: ImageBitmap;
  /** Best first, each with the CSS colour that it is drawn in. */
  readonly detections: readonly (NamedDetection & { readonly color: string })[];
  readonly milliseconds: number;
}

/** A level of the pyramid as an image. */
export interface Level extends Feature {
  readonly grid: Size;
  /** One pixel per position of the map. */
  readonly bitmap: ImageBitmap;
}

export interface Explored {
  /** Size of the model's input. */
  readonly size: Size;
  readonly levels: readonly Level[];
  readonly milliseconds: number;
}

export interface AttentionRequest {
  readonly stage: number;
  readonly block: number;
  /** Undefined for the mean over all heads. */
  readonly head: number | undefined;
  /** Position in the image, between 0 and 1 along each side. */
  readonly x: number;
  readonly y: number;
}

export interface AttentionMap {
  /** As large as the model's input; transparent where there is no attention. */
  readonly overlay: ImageBitmap;
  /** The query token as a box in fractions of the image: left, top, right, bottom. */
  readonly token: readonly [left: number, top: number, right: number, bottom: number];
  /** Rows and columns of keys. */
  readonly keys: Size;
  /** The largest attention weight, and the weight that each key would have if all were equal. */
  readonly strongest: number;
  readonly uniform: number;
}

/** A model's configuration and what it costs at an input size. */
export interface Architecture {
  readonly config: PvtConfig;
  readonly cost: Cost;
}

/** An image of the visitor's and the index of its class. */
export interface LabelledBitmap {
  readonly label: number;
  readonly bitmap: ImageBitmap;
}

export interface TuneRequest {
  /** Class names by index. */
  readonly names: readonly string[];
  readonly images: readonly LabelledBitmap[];
  /** What is trained: the classifier alone over a frozen backbone, or the last stage as well. */
  readonly trainable: 'head' | 'stage';
  readonly epochs: number;
  /** Where an interrupted run continues. */
  readonly resume?: Snapshot;
}

/** Sent about ten times a second while a run goes on. */
export interface TuneProgress extends Pick<StepEvent, 'progress' | 'secondsLeft'> {
  /** Losses of the steps since the last report. */
  readonly losses: readonly number[];
  /** How many of the visitor's images the model classifies correctly. */
  readonly correct?: number;
  /** Sent every few seconds; an interrupted run can continue from it. */
  readonly snapshot?: Snapshot;
}

export interface Tuned extends Pick<DoneEvent, 'reason' | 'seconds'> {
  /** A safetensors file whose header holds the class names and the preprocessing. */
  readonly file: Uint8Array;
  readonly correct: number;
  readonly steps: number;
}

/** A checkpoint that a web page can load from the hub. */
export interface PublishedCheckpoint {
  readonly name: string;
  /** ImageNet top-1 accuracy in percent. */
  readonly top1: number;
  readonly repository: string;
}

/** What is left of an error when it leaves the worker. */
export type ErrorRecord = Readonly<Pick<PvtError, 'name' | 'code' | 'message'>>;
