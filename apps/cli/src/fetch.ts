import type { CheckpointFiles, LoadProgress } from '@pvt/presets';
import { fetchCheckpoint } from '@pvt/presets';
import { InterruptedError } from './errors.ts';
import { note, progress, type Io } from './io.ts';
import { bytes, progressBar, wait } from './text.ts';

/** Milliseconds after which a download is noted if there is no terminal to show its progress on. */
const patience = 3000;

/** The progress of a download, on a line. */
export function progressLine({ loaded, total, bytesPerSecond, secondsLeft }: LoadProgress): string {
  const share = total ? Math.min(1, loaded / total) : undefined;
  return [
    share === undefined ? '…' : `${progressBar(share)} ${Math.floor(100 * share)} %`,
    total === undefined ? bytes(loaded) : `${bytes(loaded)} of ${bytes(total)}`,
    ...(bytesPerSecond ? [`${bytes(bytesPerSecond)}/s`] : []),
    ...(secondsLeft === undefined ? [] : [`${wait(secondsLeft)} left`]),
  ].join('  ');
}

/**
 * The files of a checkpoint: of a path, URL, hub repository or published name. Ctrl-C stops a download, and
 * the next one resumes it.
 *
 * @throws SourceError if there is no such checkpoint, InterruptedError after Ctrl-C
 */
export async function fetchFiles(reference: string, io: Io): Promise<CheckpointFiles> {
  const controller = new AbortController();
  const interrupt = () => controller.abort(new InterruptedError('stopped.'));
  process.once('SIGINT', interrupt);
  const start = performance.now();
  let state: LoadProgress | undefined;
  const timer = io.stderr.isTTY
    ? undefined
    : setTimeout(
        () => note(io, `fetching ${reference}${state?.total ? `, ${bytes(state.total)}` : ''}.`),
        patience,
      );
  try {
    const files = await progress(io, `looking for ${reference}`, (show) =>
      fetchCheckpoint(reference, {
        signal: controller.signal,
        onProgress(now) {
          state = now;
          show(progressLine(now));
        },
        onWarning: ({ message }) => note(io, message),
      }),
    );
    const seconds = (performance.now() - start) / 1000;
    if (timer && state && seconds * 1000 > patience)
      note(io, `fetched ${bytes(state.loaded)} in ${wait(seconds)}.`);
    return files;
  } finally {
    clearTimeout(timer);
    process.off('SIGINT', interrupt);
  }
}
