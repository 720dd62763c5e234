import { button, h } from './dom.ts';
import { EngineError } from './host.ts';

/** What a notice offers to do. */
export interface NoticeAction {
  readonly label: string;
  readonly run: () => void;
}

export type Severity = 'info' | 'warning' | 'error';

/** Messages above the page's content. Screen readers announce them. */
export class Notices {
  readonly element = h('div', { className: 'notices', attrs: { role: 'status', 'aria-live': 'polite' } });

  /** Shows a message until it is closed or another one with the same key replaces it. */
  show(key: string, severity: Severity, text: string, ...actions: readonly NoticeAction[]): void {
    this.clear(key);
    const notice = h('div', { className: `notice ${severity}`, attrs: { 'data-key': key } });
    const close = () => notice.remove();
    const perform = (action: NoticeAction) => {
      close();
      action.run();
    };
    notice.append(
      h('p', { textContent: text }),
      ...actions.map((action) => button(action.label, () => perform(action))),
      button('×', close, { className: 'close', ariaLabel: 'Close this message' }),
    );
    this.element.append(notice);
  }

  clear(key: string): void {
    this.element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.remove();
  }
}

/** Messages for the error codes that a visitor can do something about. */
const explanations: Readonly<Record<string, string>> = {
  'device-lost': 'The graphics device was lost twice in a row.',
  'out-of-memory':
    'This device does not have enough memory for that. The page has recovered; ' +
    'try a smaller input size or a smaller model.',
  'worker-failed':
    'The code of the models could not be loaded. Check the connection and load the page again.',
  'backend-missing': 'This backend is not available on this device.',
  'source-offline':
    'There is no network connection. The built-in models, files, and models that were loaded before ' +
    'still work.',
  'head-missing':
    'This checkpoint is a backbone without the head that this task needs. You can open it under Explore.',
};

/** The message that a visitor sees for an error. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!(error instanceof EngineError)) return error.message;
  const offline = error.code.startsWith('source-') && !navigator.onLine;
  const explanation = explanations[error.code] ?? (offline ? explanations['source-offline'] : undefined);
  // The name of the function that failed means nothing to the visitor.
  return explanation ?? error.message.replace(/^\w+: expected/, 'Expected');
}

export const isAbort = (error: unknown): boolean => error instanceof EngineError && error.code === 'aborted';
