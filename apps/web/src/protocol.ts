/** What page and worker tell each other: types alone, so that the page's own bundle stays free of model code. */

export const backendNames = ['webgpu', 'webgl', 'wasm', 'cpu'] as const;
export type BackendName = (typeof backendNames)[number];

export const taskNames = ['classify', 'segment', 'detect', 'explore', 'tune'] as const;
export type TaskName = (typeof taskNames)[number];

/** What a backend's self-check found. */
export interface Check {
  readonly backend: BackendName;
  /** Milliseconds until the backend was up. */
  readonly start: number;
  /** Largest difference between its logits and the reference's. */
  readonly error: number;
  /** Whether that is within what float32 explains. */
  readonly right: boolean;
  /** Milliseconds of a pass through the small and the larger probe once all is compiled, with their multiply-adds. */
  readonly small: Timing;
  readonly large?: Timing;
}

export interface Timing {
  readonly macs: number;
  readonly milliseconds: number;
}

/** Where a model comes from. */
export type Reference =
  /** A file that lies beside the page. */
  | { readonly kind: 'embedded'; readonly url: string }
  /** A published name, a repository on the hub, or a URL. */
  | { readonly kind: 'name'; readonly name: string }
  /** A checkpoint, or the files of a folder. */
  | { readonly kind: 'files'; readonly files: readonly File[] };

export interface OpenRequest {
  /** Two requests with the same one are for the same model. */
  readonly id: string;
  readonly task: TaskName;
  readonly title: string;
  readonly from: Reference;
  /** Class names where the checkpoint has none. */
  readonly names?: readonly string[];
  /** Shorter side of the model's input in pixels; of classifiers the checkpoint tells it. */
  readonly shortSide?: number;
  /** What it will run on first: it warms up for images of that shape. */
  readonly image?: { readonly width: number; readonly height: number };
}

export interface Progress {
  readonly loaded: number;
  readonly total: number | undefined;
  readonly secondsLeft: number | undefined;
}

export interface OpenedModel {
  readonly task: TaskName;
  readonly title: string;
  /** The variant, such as `pvt_v2_b0`. */
  readonly variant: string;
  readonly names: readonly string[];
  readonly params: number;
  /** At the size that it runs at. */
  readonly macs: number;
  /** Blocks and heads per stage. */
  readonly depths: readonly number[];
  readonly heads: readonly number[];
  readonly channels: readonly number[];
  /** Names in the checkpoint that nothing here uses. */
  readonly unused: number;
  readonly warnings: readonly string[];
  readonly milliseconds: { readonly download: number; readonly load: number; readonly warmUp: number };
}

export interface Guess {
  readonly label: number;
  readonly name: string;
  readonly probability: number;
}

export interface Classified {
  readonly guesses: readonly Guess[];
  readonly milliseconds: number;
}

export interface Segmented {
  /** Of the image's size, clear where nothing is drawn. */
  readonly overlay: ImageBitmap;
  /** Classes by their share of the image, most first. */
  readonly classes: readonly {
    readonly label: number;
    readonly name: string;
    readonly share: number;
    readonly color: string;
  }[];
  readonly milliseconds: number;
}

export interface Detected {
  readonly overlay: ImageBitmap;
  readonly objects: readonly {
    readonly name: string;
    readonly label: number;
    readonly score: number;
    readonly box: readonly number[];
    readonly color: string;
  }[];
  readonly milliseconds: number;
}

/** Height and width. */
export type Size = readonly [height: number, width: number];

export interface Level {
  readonly name: string;
  readonly stride: number;
  readonly grid: Size;
  readonly channels: number;
  /** A pixel for every position of the map. */
  readonly bitmap: ImageBitmap;
}

export interface Explored {
  readonly size: Size;
  readonly levels: readonly Level[];
  readonly milliseconds: number;
}

export interface AttentionRequest {
  readonly stage: number;
  readonly block: number;
  /** Undefined for the mean over heads. */
  readonly head: number | undefined;
  /** Between 0 and 1 across the image. */
  readonly x: number;
  readonly y: number;
}

export interface AttentionMap {
  /** Of the input's size, clear where nothing is attended to. */
  readonly overlay: ImageBitmap;
  /** The token that asks, as a box in shares of the image: left, top, right, bottom. */
  readonly token: readonly [number, number, number, number];
  /** Rows and columns of keys. */
  readonly keys: Size;
  /** The strongest key, its share of the attention, and what all alike would have. */
  readonly strongest: number;
  readonly even: number;
}

export interface LayerRow {
  readonly path: string;
  readonly kind: string;
  readonly stage: number;
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly params: number;
  readonly macs: number;
  readonly activationBytes: number;
}

export interface StageRow {
  readonly stage: number;
  readonly stride: number;
  readonly grid: Size;
  readonly tokens: number;
  readonly keyTokens: number;
  readonly attentionMap: readonly [heads: number, tokens: number, keyTokens: number];
  readonly params: number;
  readonly macs: number;
  readonly activationBytes: number;
}

/** The architecture and what it costs at a size. */
export interface Architecture {
  readonly version: string;
  readonly linear: boolean;
  readonly size: Size;
  readonly dims: readonly number[];
  readonly depths: readonly number[];
  readonly heads: readonly number[];
  readonly reductions: readonly number[];
  readonly layers: readonly LayerRow[];
  readonly stages: readonly StageRow[];
  readonly params: number;
  readonly macs: number;
  readonly activationBytes: number;
}

/** An image that the visitor gives, and which class it shows. */
export interface Example {
  readonly label: number;
  readonly bitmap: ImageBitmap;
}

export interface TuneRequest {
  readonly names: readonly string[];
  readonly examples: readonly Example[];
  /** The classifier alone, over a backbone that stays as it is; or the last stage too. */
  readonly trains: 'head' | 'stage';
  readonly epochs: number;
  /** What an earlier run that was cut off had reached. */
  readonly resume?: object;
}

/** What a run tells while it goes on, about ten times a second. */
export interface TuneProgress {
  /** Of the steps since the last word. */
  readonly losses: readonly number[];
  /** Between 0 and 1. */
  readonly done: number;
  readonly secondsLeft: number;
  /** Of the visitor's images, how many the model tells rightly. */
  readonly right?: number;
  /** Enough to go on from here, now and then. */
  readonly snapshot?: object;
}

export interface Tuned {
  /** A safetensors file with the class names and the recipe inside. */
  readonly file: Uint8Array;
  readonly right: number;
  readonly steps: number;
  readonly seconds: number;
  readonly reason: string;
}

/** An error as it comes out of the worker. */
export interface ErrorRecord {
  readonly name: string;
  readonly code: string;
  readonly message: string;
}
