import type { Host } from '../host.ts';
import type { ImageViewer } from '../imageViewer.ts';
import type { Notices } from '../notices.ts';
import type { TaskName } from '../protocol.ts';

/** What all tabs share. */
export interface Page {
  readonly host: Host;
  readonly viewer: ImageViewer;
  readonly notices: Notices;
  /** Runs the current tab again, as soon as it is free. */
  refresh(): void;
  showError(error: unknown): void;
  /** Reads a result to users of screen readers. */
  announce(text: string): void;
}

export interface Tab {
  readonly name: TaskName;
  readonly title: string;
  /** Shown beside the image. */
  readonly panel: HTMLElement;
  /** Shown below the image. */
  readonly under?: HTMLElement;
  /** Shown below both, across the whole width. */
  readonly below?: HTMLElement;
  /** Runs the tab's task on the image that the viewer shows now. */
  run(): Promise<void>;
  /** Called when the tab is shown. */
  enter?(): void;
  leave?(): void;
  /** Receives files dropped on the page, other than a single image. */
  dropFiles(files: readonly File[]): void;
}
