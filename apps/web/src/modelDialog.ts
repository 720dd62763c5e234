import { h } from './dom.ts';
import type { EmbeddedModel } from './models.ts';
import type { TaskName } from './protocol.ts';

export type Chosen =
  | { readonly kind: 'embedded'; readonly model: EmbeddedModel }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'files'; readonly files: readonly File[] };

interface Published {
  readonly name: string;
  readonly top1: number;
  readonly repository: string;
}

const titles: Readonly<Record<TaskName, string>> = {
  classify: 'A classifier',
  segment: 'A segmenter',
  detect: 'A detector',
  explore: 'A model to look into',
  tune: 'A model to start from',
};

/** Asks for a model: one that comes along, a published one, any by name, or files. Undefined where the visitor leaves it. */
export function chooseModel(
  task: TaskName,
  hint: string,
  models: readonly EmbeddedModel[],
  published: (() => Promise<readonly Published[]>) | undefined,
): Promise<Chosen | undefined> {
  return new Promise((resolve) => {
    const dialog = h('dialog', { className: 'chooser', attrs: { 'aria-labelledby': 'chooser-title' } });
    let chosen: Chosen | undefined;
    const done = (value: Chosen | undefined) => {
      chosen = value;
      dialog.close();
    };
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(chosen);
    });
    dialog.addEventListener('click', (event) => event.target === dialog && done(undefined));

    const entry = (name: string, about: string, value: Chosen) =>
      h(
        'li',
        {},
        h(
          'button',
          { type: 'button', onclick: () => done(value) },
          h('strong', { textContent: name }),
          h('span', { textContent: about }),
        ),
      );
    const list = h(
      'ul',
      { className: 'choices' },
      ...models.map((model) => entry(model.name, `comes along: ${model.about}`, { kind: 'embedded', model })),
    );
    if (published !== undefined) {
      const wait = h('li', { textContent: 'listing the published ones' });
      list.append(wait);
      void published().then(
        (all) =>
          wait.replaceWith(
            ...all.map(({ name, top1, repository }) =>
              entry(name, `ImageNet, ${top1} % top-1, from huggingface.co/${repository}`, {
                kind: 'name',
                name,
              }),
            ),
          ),
        () => wait.remove(),
      );
    }
    const name = h('input', {
      type: 'text',
      required: true,
      placeholder: 'pvt_v2_b2.in1k, owner/repository, or https://…',
      ariaLabel: 'Name, repository or address',
      spellcheck: false,
      autocapitalize: 'off',
    });
    const picker = (folder: boolean) => {
      const input = h('input', {
        type: 'file',
        hidden: true,
        multiple: folder,
        ariaLabel: folder ? 'Folder of a checkpoint' : 'Checkpoint file',
        onchange: () => input.files?.length && done({ kind: 'files', files: [...input.files] }),
      });
      if (folder) input.webkitdirectory = true;
      else input.accept = '.safetensors,.pth,.pt,.bin';
      return input;
    };
    const [file, folder] = [picker(false), picker(true)];
    dialog.append(
      h('h2', { id: 'chooser-title', textContent: titles[task] }),
      ...(hint ? [h('p', { textContent: hint })] : []),
      list,
      h(
        'form',
        {
          onsubmit: (event) => {
            event.preventDefault();
            done({ kind: 'name', name: name.value.trim() });
          },
        },
        name,
        h('button', { type: 'submit', className: 'primary', textContent: 'Load' }),
      ),
      h(
        'div',
        { className: 'tools' },
        h('button', { type: 'button', textContent: 'Open file', onclick: () => file.click() }),
        file,
        h('button', { type: 'button', textContent: 'Open folder', onclick: () => folder.click() }),
        folder,
        h('button', { type: 'button', textContent: 'Cancel', onclick: () => done(undefined) }),
      ),
      h('p', {
        className: 'small',
        textContent:
          'Only a model that you ask for is fetched, from the place you name, and kept in this browser’s cache. Images and files never leave this page.',
      }),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
