import { nearest } from '../text.ts';
import { catalogue, listCheckpoints, type CatalogueEntry } from './catalogue.ts';
import { SourceError } from './errors.ts';

/** A repository on the hub at a revision, and the file of it that the reference names. */
export interface HubReference {
  readonly repo: string;
  readonly revision: string;
  readonly file?: string;
}

export type Reference = { readonly hub: HubReference } | { readonly url: URL; readonly sha256?: string };

const hubName = /^([\w.-]+\/[\w.-]+)(?:@(.+))?$/;
const remoteProtocols = ['http:', 'https:', 'data:', 'blob:'];

/**
 * What a string refers to: a published checkpoint (`pvt_v2_b2.in1k`, or the variant alone for the hub's), a
 * hub repository (`owner/repo`, `owner/repo@revision`), or a URL; a page of the hub refers to its repository.
 *
 * @throws SourceError `source-unknown`, with the published names that are most like it
 */
export function parseReference(text: string, endpoint: string): Reference {
  const published: CatalogueEntry | undefined = (catalogue as Record<string, CatalogueEntry>)[
    [text, `${text}.in1k`].find((name) => Object.hasOwn(catalogue, name)) ?? ''
  ];
  if (published?.hub !== undefined) return { hub: { repo: published.hub, revision: 'main' } };
  if (published?.url !== undefined)
    return {
      url: new URL(published.url),
      ...(published.sha256 !== undefined && { sha256: published.sha256 }),
    };
  if (/^[a-z][a-z0-9+.-]+:/i.test(text) && URL.canParse(text)) return parseUrl(new URL(text), endpoint);
  const [, repo, revision = 'main'] = hubName.exec(text) ?? [];
  if (repo !== undefined) return { hub: { repo, revision } };
  return unknown(text);
}

export function parseUrl(url: URL, endpoint: string): Reference {
  if (!remoteProtocols.includes(url.protocol)) return unknown(url.href);
  const base = `${endpoint}/`;
  if (!url.href.startsWith(base)) return { url };
  const [owner, name, what, revision, ...file] = url.pathname
    .slice(new URL(base).pathname.length)
    .split('/')
    .map(decodeURIComponent);
  if (owner === undefined || name === undefined || !hubName.test(`${owner}/${name}`)) return { url };
  const repo = `${owner}/${name}`;
  if (what === undefined || what === '') return { hub: { repo, revision: 'main' } };
  if (revision === undefined || !['tree', 'blob', 'resolve', 'raw'].includes(what)) return { url };
  return { hub: { repo, revision, ...(file.length > 0 && { file: file.join('/') }) } };
}

function unknown(text: string): never {
  const shown = JSON.stringify(text.slice(0, 80));
  throw new SourceError(
    'source-unknown',
    'loadCheckpoint: expected the name of a published checkpoint, owner/repo on the hub, a URL, ' +
      `or in Node a file or folder, got ${shown}; ` +
      `did you mean ${nearest(text, listCheckpoints()).join(', ')}?`,
  );
}
