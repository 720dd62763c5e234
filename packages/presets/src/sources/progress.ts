/** Progress of a load, over all of its files. */
export interface LoadProgress {
  /** The file that is being loaded. */
  readonly file: string;
  /** Number of files. */
  readonly files: number;
  /** Bytes loaded, from the cache too; decreases if a server makes a download start again. */
  readonly loaded: number;
  /** Bytes of all files; undefined until the servers have said. */
  readonly total: number | undefined;
  /** Of downloads, over the last five seconds. */
  readonly bytesPerSecond: number | undefined;
  readonly secondsLeft: number | undefined;
}

export interface ProgressTracker {
  /** Sets a file's bytes so far; `received` of them have just been downloaded. */
  update(file: string, loaded: number, received?: number): void;
  /** Sets a file's size. */
  size(file: string, total: number): void;
  /** Reports that everything is loaded. */
  done(): void;
}

/** Milliseconds between two reports. */
const interval = 100;
/** Milliseconds over which the rate is measured. */
const rateWindow = 5000;

interface Sample {
  /** Milliseconds. */
  readonly at: number;
  /** Bytes downloaded by then. */
  readonly received: number;
}

/** The sum, if all are known. */
const totalOf = (sizes: readonly (number | undefined)[]): number | undefined =>
  sizes.reduce(
    (sum: number | undefined, size) => (sum === undefined || size === undefined ? undefined : sum + size),
    0,
  );

/** Bytes per second between the first and the last sample. */
function rateOf(samples: readonly Sample[]): number | undefined {
  const [first, last] = [samples[0]!, samples.at(-1)!];
  return last.at > first.at ? ((last.received - first.received) / (last.at - first.at)) * 1000 : undefined;
}

/** Adds up the progress of several files; reports at most ten times a second, and always at the end. */
export function trackProgress(
  files: readonly { readonly name: string; readonly size?: number }[],
  report: ((progress: LoadProgress) => void) | undefined,
  now: () => number = () => performance.now(),
): ProgressTracker {
  const loaded = new Map<string, number>();
  const sizes = new Map(files.map(({ name, size }) => [name, size]));
  let received = 0;
  let samples: readonly Sample[] = [];
  let last = -Infinity;
  let current = files[0]?.name ?? '';

  const reportNow = (): void => {
    const at = now();
    last = at;
    const sum = [...loaded.values()].reduce((total, bytes) => total + bytes, 0);
    const total = totalOf([...sizes.values()]);
    samples = [...samples.filter((sample) => at - sample.at <= rateWindow), { at, received }];
    const bytesPerSecond = rateOf(samples);
    const known = total !== undefined && bytesPerSecond;
    const secondsLeft = known ? Math.max(0, total - sum) / bytesPerSecond : undefined;
    report?.({ file: current, files: files.length, loaded: sum, total, bytesPerSecond, secondsLeft });
  };
  return {
    update(file, bytes, fresh = 0) {
      loaded.set(file, bytes);
      received += fresh;
      current = file;
      if (now() - last >= interval) reportNow();
    },
    size: (file, total) => void sizes.set(file, total),
    done() {
      for (const [file, bytes] of loaded) sizes.set(file, bytes);
      reportNow();
    },
  };
}
