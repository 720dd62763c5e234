/**
 * The page's shell: tabs, image and messages. The workers and their model code are loaded after the first
 * paint.
 */
import { button, h, setChildren, setOptions, svg, table } from './dom.ts';
import { Host, type Finding } from './host.ts';
import { ImageViewer } from './imageViewer.ts';
import { isAbort, messageOf, Notices } from './notices.ts';
import { backendNames, type BackendName } from './protocol.ts';
import { samples, type Sample } from './samples.ts';
import { createClassifyTab } from './tabs/classify.ts';
import { createDetectTab, createSegmentTab } from './tabs/dense.ts';
import { createExploreTab } from './tabs/explore.ts';
import type { Page, Tab } from './tabs/tab.ts';
import { createTuneTab } from './tabs/tune.ts';
import { formatDuration } from './text.ts';

const host = new Host();
const notices = new Notices();
const viewer = new ImageViewer(notices, onImage);
const announcement = h('p', { className: 'hidden', attrs: { role: 'status', 'aria-live': 'polite' } });
const frameRate = h('span', { className: 'frames' });

const page: Page = {
  host,
  viewer,
  notices,
  refresh: () => void refresh(),
  showError(error) {
    if (isAbort(error)) return;
    notices.show('run', 'error', messageOf(error), { label: 'Try again', run: () => void refresh() });
  },
  announce(text) {
    announcement.textContent = text;
  },
};

const classifyTab = createClassifyTab(page);
const tuneTab = createTuneTab(page, (file) => {
  classifyTab.dropFiles([file]);
  enter(classifyTab);
});
const tabs: readonly Tab[] = [
  classifyTab,
  createSegmentTab(page),
  createDetectTab(page),
  createExploreTab(page),
  tuneTab,
];
let current = tabs.find(({ name }) => `#${name}` === location.hash) ?? tabs[0]!;

let outdated = false;
let running = false;

/** Runs the current tab. Calls during a run lead to one more run, on what is shown by then. */
async function refresh(): Promise<void> {
  outdated = true;
  if (running || host.backend === undefined) return;
  running = true;
  document.body.setAttribute('aria-busy', 'true');
  while (outdated) {
    outdated = false;
    try {
      await current.run();
      notices.clear('run');
    } catch (error) {
      page.showError(error);
    }
  }
  running = false;
  document.body.removeAttribute('aria-busy');
  document.body.dataset['runs'] = String(Number(document.body.dataset['runs'] ?? 0) + 1);
  if (!viewer.live && (await host.switchToFastest())) void refresh();
}

function onImage(): void {
  void refresh();
  if (viewer.live) runOnCamera();
  else frameRate.textContent = '';
}

/** Runs the tab on camera frames, dropping those that arrive during a run, and shows the frame rate. */
function runOnCamera(): void {
  let [received, processed, since] = [0, 0, performance.now()];
  const onFrame = (): void => {
    if (!viewer.live) return;
    viewer.video.requestVideoFrameCallback(onFrame);
    received++;
    if (!running && !document.hidden) {
      processed++;
      void refresh();
    }
    const seconds = (performance.now() - since) / 1000;
    if (seconds < 1) return;
    const [used, all] = [(processed / seconds).toFixed(1), (received / seconds).toFixed(0)];
    frameRate.textContent = `${used} of ${all} camera images per second`;
    [received, processed, since] = [0, 0, performance.now()];
  };
  viewer.video.requestVideoFrameCallback(onFrame);
}

const tabButtons = tabs.map((tab) =>
  button(tab.title, () => enter(tab), {
    id: `tab-${tab.name}`,
    attrs: { role: 'tab', 'aria-controls': 'panel' },
  }),
);
const tabList = h(
  'div',
  { className: 'tabs', attrs: { role: 'tablist', 'aria-label': 'Tasks' } },
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

/** Shows a tab and runs it. */
function enter(tab: Tab): void {
  current.leave?.();
  current = tab;
  history.replaceState(null, '', `#${tab.name}`);
  for (const [i, tabButton] of tabButtons.entries()) {
    const selected = tabs[i] === tab;
    tabButton.ariaSelected = String(selected);
    tabButton.tabIndex = selected ? 0 : -1;
  }
  panel.setAttribute('aria-labelledby', `tab-${tab.name}`);
  setChildren(panel, tab.panel);
  setChildren(under, tab.under);
  setChildren(below, tab.below);
  viewer.clearOverlay();
  viewer.offerSamples(
    samples.filter(({ tasks }) => tasks.includes(tab.name)),
    showSample,
  );
  tab.enter?.();
  const better = betterSample(tab);
  if (better) void showSample(better);
  else void refresh();
}

/**
 * A sample made for the tab's task, if the viewer shows a sample of another task. The visitor's own image
 * stays.
 */
function betterSample({ name }: Tab): Sample | undefined {
  if (viewer.isVisitors || viewer.imageName === undefined) return undefined;
  const shown = samples.find(({ title }) => title === viewer.imageName);
  return shown?.tasks[0] === name ? undefined : samples.find(({ tasks }) => tasks[0] === name);
}

async function showSample(sample: Sample): Promise<void> {
  try {
    viewer.show(await sample.draw(), sample.title);
  } catch (error) {
    page.showError(error);
  }
}

const backendSelect = h('select', { ariaLabel: 'Backend' });
const findingRows = h('tbody');
backendSelect.addEventListener('change', () => void selectBackend());

async function selectBackend(): Promise<void> {
  const requested = backendNames.find((name) => name === backendSelect.value) ?? 'auto';
  localStorage.setItem('pvt.backend', requested);
  notices.clear('backend');
  document.body.setAttribute('aria-busy', 'true');
  try {
    await host.select(requested);
    if (requested === 'auto') await host.timeBackends();
  } catch {
    // The host has reported why the backend is refused.
    localStorage.setItem('pvt.backend', 'auto');
    showBackends();
  }
  await refresh();
}

function showBackends(): void {
  const { automatic, backend } = host;
  setOptions(
    backendSelect,
    [
      ['auto', `automatic${automatic && backend ? `: ${backend}` : ''}`],
      ...backendNames.map((name) => [name, name] as const),
    ],
    automatic ? 'auto' : backend,
  );
  document.body.dataset['backend'] = backend ?? '';
  setChildren(findingRows, ...backendNames.map((name) => findingRow(name, host.findings.get(name))));
}

function findingRow(name: BackendName, finding: Finding | undefined): HTMLTableRowElement {
  const check = finding !== undefined && 'passed' in finding ? finding : undefined;
  const times = [check?.start, check?.small.milliseconds, check?.large?.milliseconds];
  return h(
    'tr',
    { className: name === host.backend ? 'used' : '', attrs: { 'data-backend': name } },
    h('th', { scope: 'row', textContent: name }),
    h('td', { textContent: describeFinding(finding) }),
    ...times.map((time) => h('td', { textContent: time === undefined ? '' : formatDuration(time) })),
  );
}

function describeFinding(finding: Finding | undefined): string {
  if (finding === undefined) return 'not tried yet';
  if ('unavailable' in finding) return 'not available';
  return finding.passed
    ? `passed, error ${finding.error.toExponential(0)}`
    : `failed, error ${finding.error.toPrecision(2)}: not used`;
}

host.on('backends', showBackends);
host.on('refused', (finding) => {
  const { backend } = finding;
  if ('passed' in finding) {
    const error = finding.error.toPrecision(2);
    const reason = `the logits of its self-check are off by ${error}, more than the allowed 0.001`;
    notices.show('backend', 'warning', `${backend} is not used on this device: ${reason}.`);
  } else if (!host.automatic) {
    const text = `${backend} cannot be used on this device. ${finding.unavailable}`;
    notices.show('backend', 'warning', text);
  }
});
host.on('recovered', ({ code, from, to }) => {
  if (code !== 'device-lost') return;
  const outcome = to === from ? 'It was started again' : `The page continues with ${to}`;
  const text = `The graphics device of ${from} was lost. ${outcome}; your images and models are still here.`;
  notices.show('lost', 'warning', text);
  void refresh();
});

const themes = ['system', 'light', 'dark'] as const;
type Theme = (typeof themes)[number];
const themeSymbols: Readonly<Record<Theme, string>> = { system: '◐', light: '○', dark: '●' };
const themeButton = button('', nextTheme, { className: 'quiet' });

function nextTheme(): void {
  const shown = document.documentElement.dataset['theme'];
  setTheme(themes[(themes.findIndex((name) => name === shown) + 1) % themes.length]!);
}

function setTheme(theme: Theme): void {
  document.documentElement.dataset['theme'] = theme;
  themeButton.textContent = themeSymbols[theme];
  themeButton.ariaLabel = themeButton.title = `Colours: ${theme}`;
  localStorage.setItem('pvt.theme', theme);
}

/** A pyramid of four levels. */
const createLogo = (): SVGElement =>
  svg(
    'svg',
    { viewBox: '0 0 32 32', 'aria-hidden': 'true', class: 'logo' },
    ...['#fde725', '#35b779', '#31688e', '#440154'].map((fill, i) =>
      svg('path', { d: `M${13 - 3.6 * i} ${5 + 6.2 * i}h${6 + 7.2 * i}l2 5h-${10 + 7.2 * i}z`, fill }),
    ),
  );

const createHeader = (): HTMLElement =>
  h(
    'header',
    {},
    h(
      'div',
      { className: 'brand' },
      createLogo(),
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
      h('label', {}, h('span', { className: 'hidden', textContent: 'Backend' }), backendSelect),
      themeButton,
    ),
  );

const createFooter = (): HTMLElement =>
  h(
    'footer',
    {},
    frameRate,
    h(
      'details',
      {},
      h('summary', { textContent: 'Backends on this device' }),
      h('p', {
        textContent:
          'Each backend first runs a small model whose logits were computed with the authors’ own code. ' +
          'A backend whose logits differ is not used. The other columns are the times to start, for a ' +
          'small input and for a larger one. From them the page estimates the fastest backend for a model.',
      }),
      h(
        'div',
        { className: 'scroll' },
        table(['backend', 'self-check', 'start', '2 × 64 px', '320 px'], findingRows),
      ),
    ),
    h(
      'p',
      { className: 'small' },
      'PVT (arXiv:2102.12122) and PVT v2 (arXiv:2106.13797) in TypeScript. ' +
        'The built-in models are demonstrations.',
    ),
  );

document.body.append(
  createHeader(),
  notices.element,
  h('main', {}, h('div', { className: 'left' }, viewer.element, under), panel),
  below,
  createFooter(),
  announcement,
);
setTheme(themes.find((name) => name === localStorage.getItem('pvt.theme')) ?? 'system');
viewer.onDropFiles = (files) => current.dropFiles(files);
addEventListener('offline', () =>
  notices.show(
    'offline',
    'info',
    'The network connection is gone. What is loaded keeps working; only other models cannot be downloaded.',
  ),
);
addEventListener('online', () => notices.clear('offline'));
document.addEventListener('visibilitychange', () => document.hidden || void refresh());
showBackends();
enter(current);

async function start(): Promise<void> {
  if (typeof Worker === 'undefined' || typeof OffscreenCanvas === 'undefined') {
    notices.show(
      'start',
      'error',
      'This browser does not support workers or OffscreenCanvas. ' +
        'A current version of Firefox, Chrome, Edge or Safari does.',
    );
    return;
  }
  const sample = samples.find(({ tasks }) => tasks[0] === current.name) ?? samples[0]!;
  const requested =
    new URLSearchParams(location.search).get('backend') ?? localStorage.getItem('pvt.backend') ?? 'auto';
  const shown = sample.draw().then((bitmap) => viewer.empty && viewer.show(bitmap, sample.title));
  await host.start(backendNames.find((name) => name === requested) ?? 'auto');
  await shown;
  await refresh();
  if (!host.automatic) return;
  await host.timeBackends();
  await refresh();
}

async function startOrExplain(): Promise<void> {
  try {
    await start();
  } catch (error) {
    notices.show('start', 'error', messageOf(error), { label: 'Reload', run: () => location.reload() });
  }
}

void startOrExplain();
