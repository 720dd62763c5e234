import { button, h } from './dom.ts';
import type { EmbeddedModel } from './models.ts';
import type { CheckpointLocation, PublishedCheckpoint, TaskName } from './protocol.ts';

export type ChosenModel =
  | { readonly kind: 'embedded'; readonly model: EmbeddedModel }
  | Exclude<CheckpointLocation, { readonly kind: 'embedded' }>;

export interface ChooseModelOptions {
  readonly task: TaskName;
  /** What a checkpoint for the task needs. */
  readonly hint: string | undefined;
  readonly models: readonly EmbeddedModel[];
  /** Lists the published checkpoints that the task can use. */
  readonly published: (() => Promise<readonly PublishedCheckpoint[]>) | undefined;
}

type Choose = (model: ChosenModel | undefined) => void;

const titles: Readonly<Record<TaskName, string>> = {
  classify: 'Choose a classifier',
  segment: 'Choose a segmentation model',
  detect: 'Choose a detector',
  explore: 'Choose a model to explore',
  tune: 'Choose a model to start from',
};

/**
 * Lets the visitor choose a model: an embedded one, a published one, one by name or URL, or files. Undefined
 * if the dialog is closed without a choice.
 */
export function chooseModel(options: ChooseModelOptions): Promise<ChosenModel | undefined> {
  return new Promise((resolve) => {
    const dialog = h('dialog', { className: 'chooser', attrs: { 'aria-labelledby': 'chooser-title' } });
    let chosen: ChosenModel | undefined;
    const choose: Choose = (model) => {
      chosen = model;
      dialog.close();
    };
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(chosen);
    });
    // The dialog itself is hit only by a click on the backdrop.
    dialog.addEventListener('click', (event) => event.target === dialog && choose(undefined));
    dialog.append(...dialogContent(options, choose));
    document.body.append(dialog);
    dialog.showModal();
  });
}

const dialogContent = ({ task, hint, models, published }: ChooseModelOptions, choose: Choose): Node[] => [
  h('h2', { id: 'chooser-title', textContent: titles[task] }),
  ...(hint === undefined ? [] : [h('p', { textContent: hint })]),
  modelList(models, published, choose),
  nameForm(choose),
  fileButtons(choose),
  h('p', {
    className: 'small',
    textContent:
      'A model is downloaded only when you choose it, from the place you name, and is kept in the cache ' +
      'of this browser. Images and files never leave this page.',
  }),
];

function modelList(
  models: readonly EmbeddedModel[],
  published: ChooseModelOptions['published'],
  choose: Choose,
): HTMLElement {
  const item = (name: string, description: string, model: ChosenModel) =>
    h(
      'li',
      {},
      h(
        'button',
        { type: 'button', onclick: () => choose(model) },
        h('strong', { textContent: name }),
        h('span', { textContent: description }),
      ),
    );
  const list = h(
    'ul',
    { className: 'choices' },
    ...models.map((model) => item(model.name, `built in: ${model.description}`, { kind: 'embedded', model })),
  );
  if (published === undefined) return list;
  const placeholder = h('li', { textContent: 'listing the published models' });
  list.append(placeholder);
  void published().then(
    (checkpoints) =>
      placeholder.replaceWith(
        ...checkpoints.map(({ name, top1, repository }) =>
          item(name, `ImageNet, ${top1} % top-1, from huggingface.co/${repository}`, { kind: 'name', name }),
        ),
      ),
    () => placeholder.remove(),
  );
  return list;
}

function nameForm(choose: Choose): HTMLElement {
  const name = h('input', {
    type: 'text',
    required: true,
    placeholder: 'pvt_v2_b2.in1k, owner/repository, or https://…',
    ariaLabel: 'Name, repository or address',
    spellcheck: false,
    autocapitalize: 'off',
  });
  return h(
    'form',
    {
      onsubmit: (event) => {
        event.preventDefault();
        choose({ kind: 'name', name: name.value.trim() });
      },
    },
    name,
    h('button', { type: 'submit', className: 'primary', textContent: 'Load' }),
  );
}

function fileButtons(choose: Choose): HTMLElement {
  const file = fileInput('Checkpoint file', choose);
  file.accept = '.safetensors,.pth,.pt,.bin';
  const folder = fileInput('Folder of a checkpoint', choose);
  folder.multiple = folder.webkitdirectory = true;
  return h(
    'div',
    { className: 'tools' },
    button('Open file', () => file.click()),
    file,
    button('Open folder', () => folder.click()),
    folder,
    button('Cancel', () => choose(undefined)),
  );
}

function fileInput(ariaLabel: string, choose: Choose): HTMLInputElement {
  const input = h('input', {
    type: 'file',
    hidden: true,
    ariaLabel,
    onchange: () => input.files?.length && choose({ kind: 'files', files: [...input.files] }),
  });
  return input;
}
