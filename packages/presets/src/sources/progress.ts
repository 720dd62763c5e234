/** How far a load is, over all of its files together. */
export interface LoadProgress {
  /** The file that is on its way. */
  readonly file: string;
  /** How many files there are. */
  readonly files: number;
  /** Bytes that are here, those from the cache too; goes back where a server makes a download begin again. */
  readonly loaded: number;
  /** Bytes of all files; undefined while a server has not told. */
  readonly total: number | undefined;
  /** Over the last seconds, of what came over the network. */
  readonly bytesPerSecond: number | undefined;
  readonly secondsLeft: number | undefined;
}

export interface ProgressTracker {
  /** A file's bytes so far, and how many of them have just come over the network. */
  update(file: string, loaded: number, received?: number): void;
  /** A file's size, once it is known. */
  size(file: string, total: number): void;
  /** The last word: everything is here. */
  done(): void;
}

/** Milliseconds between two reports, and how far back the rate looks. */
const interval = 100;
const window = 5000;

/** Adds up the progress of several files into one, told at most ten times a second and always at the end. */
export function trackProgress(
  files: readonly { readonly name: string; readonly size?: number }[],
  report: ((progress: LoadProgress) => void) | undefined,
  now: () => number = () => performance.now(),
): ProgressTracker {
  const loaded = new Map<string, number>();
  const sizes = new Map(files.map(({ name, size }) => [name, size]));
  let received = 0;
  let samples: { readonly at: number; readonly received: number }[] = [];
  let last = -Infinity;
  let current = files[0]?.name ?? '';

  const tell = (): void => {
    const at = now();
    last = at;
    const sum = [...loaded.values()].reduce((total, bytes) => total + bytes, 0);
    const total = [...sizes.values()].reduce(
      (total: number | undefined, size) =>
        total === undefined || size === undefined ? undefined : total + size,
      0,
    );
    samples = [...samples.filter((sample) => at - sample.at <= window), { at, received }];
    const [first] = samples;
    const bytesPerSecond =
      at > first!.at ? ((received - first!.received) / (at - first!.at)) * 1000 : undefined;
    const secondsLeft =
      total === undefined || bytesPerSecond === undefined || bytesPerSecond === 0
        ? undefined
        : Math.max(0, total - sum) / bytesPerSecond;
    report?.({ file: current, files: files.length, loaded: sum, total, bytesPerSecond, secondsLeft });
  };
  return {
    update(file, bytes, fresh = 0) {
      loaded.set(file, bytes);
      received += fresh;
      current = file;
      if (now() - last >= interval) tell();
    },
    size: (file, total) => void sizes.set(file, total),
    done() {
      for (const [file, bytes] of loaded) sizes.set(file, bytes);
      tell();
    },
  };
}
