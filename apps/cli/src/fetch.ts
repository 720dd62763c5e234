import type { CheckpointFiles, LoadProgress } from '@pvt/presets';
import { fetchCheckpoint } from '@pvt/presets';
import { InterruptedError } from './errors.ts';
import { note, progress, type Io } from './io.ts';
import { bar, bytes, wait } from './text.ts';

/** Milliseconds after which a download is told of where there is no terminal to watch it on. */
const patience = 3000;

/** How far a download is, on a line. */
export function progressLine({ loaded, total, bytesPerSecond, secondsLeft }: LoadProgress): string {
  const share = total ? Math.min(1, loaded / total) : undefined;
  return [
    share === undefined ? '…' : `${bar(share).padEnd(bar(1).length, '░')} ${Math.floor(100 * share)} %`,
    total === undefined ? bytes(loaded) : `${bytes(loaded)} of ${bytes(total)}`,
    ...(bytesPerSecond ? [`${bytes(bytesPerSecond)}/s`] : []),
    ...(secondsLeft === undefined ? [] : [`${wait(secondsLeft)} left`]),
  ].join('  ');
}

/**
 * The files of the checkpoint that a reference stands for: a path, URL, repository of the hub or published name. Ctrl-C
 * stops a download, which the next one goes on with.
 *
 * @throws SourceError where there is no such checkpoint, InterruptedError after Ctrl-C
 */
export async function fetchFiles(reference: string, io: Io): Promise<CheckpointFiles> {
  const controller = new AbortController();
  const interrupt = () => controller.abort(new InterruptedError('stopped.'));
  process.once('SIGINT', interrupt);
  const begun = performance.now();
  let state: LoadProgress | undefined;
  const impatient = io.stderr.isTTY
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
    const seconds = (performance.now() - begun) / 1000;
    if (impatient && state && seconds * 1000 > patience)
      note(io, `fetched ${bytes(state.loaded)} in ${wait(seconds)}.`);
    return files;
  } finally {
    clearTimeout(impatient);
    process.off('SIGINT', interrupt);
  }
}
