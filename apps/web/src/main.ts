/** The page's shell: tabs, image, messages. Nothing here knows a model; the worker and its code come after the first paint. */
import { fill, h, options, svg } from './dom.ts';
import { Host, type Finding } from './host.ts';
import { isAbort, Notices, sentenceOf } from './notices.ts';
import { backendNames, type BackendName } from './protocol.ts';
import { samples, type Sample } from './samples.ts';
import { Stage } from './stage.ts';
import { createClassifyTab } from './tabs/classify.ts';
import { createDetectTab, createSegmentTab } from './tabs/dense.ts';
import { createExploreTab } from './tabs/explore.ts';
import type { Page, Tab } from './tabs/tab.ts';
import { createTuneTab } from './tabs/tune.ts';
import { duration } from './text.ts';

const host = new Host();
const notices = new Notices();
const stage = new Stage(notices, () => image());
const spoken = h('p', { className: 'hidden', attrs: { role: 'status', 'aria-live': 'polite' } });
const frames = h('span', { className: 'frames' });

const page: Page = {
  host,
  stage,
  notices,
  refresh: () => void refresh(),
  fail: (error) => {
    if (!isAbort(error))
      notices.say('run', 'error', sentenceOf(error), { label: 'Try again', run: () => void refresh() });
  },
  announce: (text) => {
    spoken.textContent = text;
  },
};

const classify = createClassifyTab(page);
const tune = createTuneTab(page, (file) => {
  classify.take([file]);
  enter(classify);
});
const tabs: readonly Tab[] = [
  classify,
  createSegmentTab(page),
  createDetectTab(page),
  createExploreTab(page),
  tune,
];
let current = tabs.find(({ name }) => `#${name}` === location.hash) ?? tabs[0]!;

let wanted = false;
let running = false;

/** Runs the tab that is shown; what is asked for meanwhile is done once afterwards, with what is there then. */
async function refresh(): Promise<void> {
  wanted = true;
  if (running || host.backend === undefined) return;
  running = true;
  document.body.setAttribute('aria-busy', 'true');
  while (wanted) {
    wanted = false;
    try {
      await current.run();
      notices.clear('run');
    } catch (error) {
      page.fail(error);
    }
  }
  running = false;
  document.body.removeAttribute('aria-busy');
  document.body.dataset['runs'] = String(Number(document.body.dataset['runs'] ?? 0) + 1);
  if (!stage.live && (await host.reconsider())) void refresh();
}

/** Camera frames that come while one is worked on are dropped: what is shown is never late. */
function image(): void {
  void refresh();
  if (!stage.live) {
    frames.textContent = '';
    return;
  }
  let [seen, used, since] = [0, 0, performance.now()];
  const next = (): void => {
    if (!stage.live) return;
    stage.video.requestVideoFrameCallback(next);
    seen++;
    if (!running && !document.hidden) {
      used++;
      void refresh();
    }
    const elapsed = performance.now() - since;
    if (elapsed < 1000) return;
    frames.textContent = `${((1000 * used) / elapsed).toFixed(1)} of ${((1000 * seen) / elapsed).toFixed(0)} camera images a second`;
    [seen, used, since] = [0, 0, performance.now()];
  };
  stage.video.requestVideoFrameCallback(next);
}

const tabButtons = tabs.map((tab) =>
  h('button', {
    type: 'button',
    id: `tab-${tab.name}`,
    textContent: tab.title,
    onclick: () => enter(tab),
    attrs: { role: 'tab', 'aria-controls': 'panel' },
  }),
);
const tabList = h(
  'div',
  { className: 'tabs', attrs: { role: 'tablist', 'aria-label': 'What to do' } },
  ...tabButtons,
);
tabList.addEventListener('keydown', ({ key }) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
  if (step === undefined) return;
  const next = (tabs.indexOf(current) + step + tabs.length) % tabs.length;
  enter(tabs[next]!);
  tabButtons[next]!.focus();
});
const panel = h('div', { id: 'panel', className: 'panel', attrs: { role: 'tabpanel' } });
const under = h('div', { className: 'under' });
const below = h('div', { className: 'below' });

function enter(tab: Tab): void {
  current.leave?.();
  current = tab;
  history.replaceState(null, '', `#${tab.name}`);
  for (const [i, button] of tabButtons.entries()) {
    const selected = tabs[i] === tab;
    button.ariaSelected = String(selected);
    button.tabIndex = selected ? 0 : -1;
  }
  panel.setAttribute('aria-labelledby', `tab-${tab.name}`);
  fill(panel, tab.panel);
  fill(under, tab.under);
  fill(below, tab.below);
  stage.clearOverlay();
  const suiting = samples.filter(({ tasks }) => tasks.includes(tab.name as never));
  stage.showSamples(suiting, showSample);
  tab.enter?.();
  const made = samples.find(({ tasks }) => tasks[0] === tab.name);
  // A sample gives way to one that was drawn for this task, the visitor's own image does not.
  if (
    made !== undefined &&
    !stage.visitors &&
    stage.shown !== undefined &&
    samples.find(({ title }) => title === stage.shown)?.tasks[0] !== tab.name
  )
    showSample(made);
  else void refresh();
}

const showSample = (sample: Sample): void =>
  void sample.draw().then((bitmap) => stage.show(bitmap, sample.title), page.fail);

const backend = h('select', { ariaLabel: 'Backend' });
const findings = h('tbody');
backend.addEventListener('change', () => {
  const asked = backend.value as BackendName | 'auto';
  localStorage.setItem('pvt.backend', asked);
  notices.clear('backend');
  document.body.setAttribute('aria-busy', 'true');
  host.select(asked).then(
    () => (asked === 'auto' ? survey() : refresh()),
    () => {
      localStorage.setItem('pvt.backend', 'auto');
      showBackends();
      return refresh();
    },
  );
});

const verdict = (finding: Finding | undefined): string => {
  if (finding === undefined) return 'not tried yet';
  if ('missing' in finding) return 'not here';
  return finding.right
    ? `right, off by at most ${finding.error.toExponential(0)}`
    : `wrong, off by ${finding.error.toPrecision(2)}: not used`;
};

function showBackends(): void {
  const { automatic, backend: used } = host;
  options(
    backend,
    [
      ['auto', `automatic${automatic && used ? `: ${used}` : ''}`],
      ...backendNames.map((name) => [name, name] as const),
    ],
    automatic ? 'auto' : used,
  );
  document.body.dataset['backend'] = used ?? '';
  fill(
    findings,
    ...backendNames.map((name) => {
      const finding = host.findings.get(name);
      const check = finding !== undefined && 'right' in finding ? finding : undefined;
      const cells = [
        verdict(finding),
        check ? duration(check.start) : '',
        check ? duration(check.small.milliseconds) : '',
        check?.large ? duration(check.large.milliseconds) : '',
      ];
      return h(
        'tr',
        { className: name === used ? 'used' : '', attrs: { 'data-backend': name } },
        h('th', { scope: 'row', textContent: name }),
        ...cells.map((text) => h('td', { textContent: text })),
      );
    }),
  );
}

host.on('backends', showBackends);
host.on('refused', (finding) => {
  if ('right' in finding)
    notices.say(
      'backend',
      'warning',
      `${finding.backend} computes wrongly on this device: its logits are off by ${finding.error.toPrecision(2)}, where 0.001 is allowed. It is not used.`,
    );
  else if (!host.automatic)
    notices.say(
      'backend',
      'warning',
      `${finding.backend} cannot be used here: ${finding.missing} Another backend serves.`,
    );
});
host.on('recovered', ({ code, from, to }) => {
  if (code !== 'device-lost') return;
  notices.say(
    'lost',
    'warning',
    `The graphics device of ${from} was lost. ${to === from ? 'It was started again' : `${to} goes on in its place`}; nothing of yours is lost.`,
  );
  void refresh();
});

async function survey(): Promise<void> {
  await host.survey();
  await refresh();
}

const themes = ['system', 'light', 'dark'] as const;
const theme = h('button', {
  type: 'button',
  className: 'quiet',
  onclick: () =>
    paint(themes[(themes.indexOf(document.documentElement.dataset['theme'] as never) + 1) % themes.length]!),
});
function paint(name: (typeof themes)[number]): void {
  document.documentElement.dataset['theme'] = name;
  theme.textContent = { system: '◐', light: '○', dark: '●' }[name];
  theme.ariaLabel = theme.title = `Colours: ${name === 'system' ? 'as the system has them' : name}`;
  localStorage.setItem('pvt.theme', name);
}

const logo = svg(
  'svg',
  { viewBox: '0 0 32 32', 'aria-hidden': 'true', class: 'logo' },
  ...['#fde725', '#35b779', '#31688e', '#440154'].map((fill, i) =>
    svg('path', { d: `M${13 - 3.6 * i} ${5 + 6.2 * i}h${6 + 7.2 * i}l2 5h-${10 + 7.2 * i}z`, fill }),
  ),
);

document.body.append(
  h(
    'header',
    {},
    h(
      'div',
      { className: 'brand' },
      logo,
      h(
        'div',
        {},
        h('h1', { textContent: 'Pyramid Vision Transformer' }),
        h('p', { textContent: 'in your browser: images stay on this device' }),
      ),
    ),
    tabList,
    h(
      'div',
      { className: 'settings' },
      h('label', {}, h('span', { className: 'hidden', textContent: 'Backend' }), backend),
      theme,
    ),
  ),
  notices.element,
  h('main', {}, h('div', { className: 'left' }, stage.element, under), panel),
  below,
  h(
    'footer',
    {},
    frames,
    h(
      'details',
      {},
      h('summary', { textContent: 'How this device computes' }),
      h('p', {
        textContent:
          'Each backend first runs a small model whose logits the authors’ own code has computed. One that differs is not used. The other columns are the milliseconds until it was up, and of a small and a larger image; the choice for a model follows from them.',
      }),
      h(
        'div',
        { className: 'scroll' },
        h(
          'table',
          {},
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              ...['backend', 'self-check', 'start', '2 × 64 px', '320 px'].map((name) =>
                h('th', { scope: 'col', textContent: name }),
              ),
            ),
          ),
          findings,
        ),
      ),
    ),
    h(
      'p',
      { className: 'small' },
      'PVT (arXiv:2102.12122) and PVT v2 (arXiv:2106.13797) in TypeScript. The models that come along are demonstrations.',
    ),
  ),
  spoken,
);
paint(themes.find((name) => name === localStorage.getItem('pvt.theme')) ?? 'system');
stage.onDropFiles = (files) => current.take(files);
addEventListener('offline', () =>
  notices.say(
    'offline',
    'info',
    'The network is gone. Everything that is loaded goes on working; only models from elsewhere have to wait.',
  ),
);
addEventListener('online', () => notices.clear('offline'));
document.addEventListener('visibilitychange', () => document.hidden || void refresh());
showBackends();
enter(current);

async function start(): Promise<void> {
  if (typeof Worker === 'undefined' || typeof OffscreenCanvas === 'undefined') {
    notices.say(
      'start',
      'error',
      'This browser lacks workers or canvases for them. A current Firefox, Chrome, Edge or Safari has both.',
    );
    return;
  }
  const first = samples.find(({ tasks }) => tasks[0] === current.name) ?? samples[0];
  const asked =
    new URLSearchParams(location.search).get('backend') ?? localStorage.getItem('pvt.backend') ?? 'auto';
  const drawn = first!.draw().then((bitmap) => stage.empty && stage.show(bitmap, first!.title));
  await host.start(backendNames.find((name) => name === asked) ?? 'auto');
  await drawn;
  await refresh();
  if (host.automatic) await survey();
}

start().catch((error: unknown) =>
  notices.say('start', 'error', sentenceOf(error), { label: 'Load again', run: () => location.reload() }),
);
