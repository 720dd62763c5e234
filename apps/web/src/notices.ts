import { fill, h } from './dom.ts';
import { EngineError } from './host.ts';

/** A way on that a message offers. */
export interface WayOn {
  readonly label: string;
  readonly run: () => void;
}

export type Severity = 'info' | 'warning' | 'error';

/** Sentences for what goes wrong, with a way on; read aloud where a screen reader listens. */
export class Notices {
  readonly element = h('div', { className: 'notices', attrs: { role: 'status', 'aria-live': 'polite' } });

  /** Shows a sentence until it is closed or another one with the same key takes its place. */
  say(key: string, severity: Severity, text: string, ...ways: readonly WayOn[]): void {
    this.clear(key);
    const notice = h('div', { className: `notice ${severity}`, attrs: { 'data-key': key } });
    const close = () => notice.remove();
    fill(
      notice,
      h('p', { textContent: text }),
      ...ways.map(({ label, run }) =>
        h('button', { type: 'button', textContent: label, onclick: () => (close(), run()) }),
      ),
      h('button', {
        type: 'button',
        className: 'close',
        textContent: '×',
        ariaLabel: 'Close this message',
        onclick: close,
      }),
    );
    this.element.append(notice);
  }

  clear(key: string): void {
    this.element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.remove();
  }
}

/** Codes of errors and what a visitor can make of them; others speak for themselves. */
const sentences: Readonly<Record<string, string>> = {
  'device-lost': 'The graphics device was lost, and again when it was started anew.',
  'out-of-memory':
    'This was too much for the memory of this device. The engine has started again; a smaller size or a smaller model will fit.',
  'worker-failed':
    'The code of the models could not be loaded. Check the connection and load the page again.',
  'backend-missing': 'This backend is not available here.',
  'source-offline':
    'There is no connection to the network. Models that were loaded before, the ones that come along, and files still work.',
  'head-missing':
    'This checkpoint is a backbone without the head that this task needs. It can be looked into under Explore.',
};

/** The sentence that an error becomes. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof EngineError) {
    const known = sentences[error.code];
    if (known !== undefined) return known;
    if (error.code.startsWith('source-') && !navigator.onLine) return sentences['source-offline']!;
    // Who complains is of no use to somebody who did not write the call.
    return error.message.replace(/^\w+: expected/, 'Expected');
  }
  return error.message;
}

export const isAbort = (error: unknown): boolean => error instanceof EngineError && error.code === 'aborted';
