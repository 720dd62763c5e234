import type { Host } from '../host.ts';
import type { Notices } from '../notices.ts';
import type { Stage } from '../stage.ts';

/** What all tabs share. */
export interface Page {
  readonly host: Host;
  readonly stage: Stage;
  readonly notices: Notices;
  /** Runs the tab that is shown again, once it is free. */
  refresh(): void;
  /** Tells of an error. */
  fail(error: unknown): void;
  /** Tells a screen reader what came out. */
  announce(text: string): void;
}

export interface Tab {
  readonly name: string;
  readonly title: string;
  /** Beside the image. */
  readonly panel: HTMLElement;
  /** Below the image. */
  readonly under?: HTMLElement;
  /** Below both, over the whole width. */
  readonly below?: HTMLElement;
  /** Does what the tab does with what the stage shows now. */
  run(): Promise<void>;
  /** Before its first run, and whenever it is shown again. */
  enter?(): void;
  leave?(): void;
  /** Files that were dropped on the page and are no single image. */
  take(files: readonly File[]): void;
}
