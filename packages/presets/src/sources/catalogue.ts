import { v1 } from '../v1.ts';
import { v2 } from '../v2.ts';
import type { ModelName } from '../models.ts';
import { matches } from '../text.ts';

/** A published checkpoint. */
export interface CatalogueEntry {
  readonly model: ModelName;
  /** Accuracy on ImageNet-1k in percent, as published. */
  readonly top1: number;
  /** Repository on the hub. */
  readonly hub?: string;
  /** The authors' own file. GitHub allows no cross-origin requests for it, so only Node can load it. */
  readonly url?: string;
  /**
   * The file's SHA-256, if it is pinned. None is so far: files of the hub are checked against the digest that
   * the hub states, files of GitHub against their length and their content.
   */
  readonly sha256?: string;
}

const timm = <M extends keyof typeof v2 & ModelName>(model: M) => ({
  model,
  top1: v2[model].top1,
  hub: `timm/${model}.in1k`,
});
const zetatech = <M extends 'pvt_tiny' | 'pvt_small' | 'pvt_medium' | 'pvt_large'>(model: M) => ({
  model,
  top1: v1[model].top1,
  hub: `Zetatech/${model.replace('_', '-')}-224`,
});
/** Assets of whai362/PVT's release `v2`, which has those of v1 too (`classification/README.md`). */
const authors = <M extends Exclude<ModelName, 'pvt_huge' | 'pvt_v2_nano'>>(model: M) => ({
  model,
  top1: { ...v1, ...v2 }[model].top1,
  url: `https://github.com/whai362/PVT/releases/download/v2/${model}.pth`,
});

/**
 * The published checkpoints by name, all trained on ImageNet-1k at 224x224: `.in1k` as timm (v2) and the
 * transformers library (v1) host them on the hub, `.official` as their authors released them.
 */
export const catalogue = {
  'pvt_tiny.in1k': zetatech('pvt_tiny'),
  'pvt_small.in1k': zetatech('pvt_small'),
  'pvt_medium.in1k': zetatech('pvt_medium'),
  'pvt_large.in1k': zetatech('pvt_large'),
  'pvt_v2_b0.in1k': timm('pvt_v2_b0'),
  'pvt_v2_b1.in1k': timm('pvt_v2_b1'),
  'pvt_v2_b2.in1k': timm('pvt_v2_b2'),
  'pvt_v2_b2_li.in1k': timm('pvt_v2_b2_li'),
  'pvt_v2_b3.in1k': timm('pvt_v2_b3'),
  'pvt_v2_b4.in1k': timm('pvt_v2_b4'),
  'pvt_v2_b5.in1k': timm('pvt_v2_b5'),
  'pvt_tiny.official': authors('pvt_tiny'),
  'pvt_small.official': authors('pvt_small'),
  'pvt_medium.official': authors('pvt_medium'),
  'pvt_large.official': authors('pvt_large'),
  'pvt_v2_b0.official': authors('pvt_v2_b0'),
  'pvt_v2_b1.official': authors('pvt_v2_b1'),
  'pvt_v2_b2.official': authors('pvt_v2_b2'),
  'pvt_v2_b2_li.official': authors('pvt_v2_b2_li'),
  'pvt_v2_b3.official': authors('pvt_v2_b3'),
  'pvt_v2_b4.official': authors('pvt_v2_b4'),
  'pvt_v2_b5.official': authors('pvt_v2_b5'),
} as const satisfies Record<string, CatalogueEntry>;

export type CheckpointName = keyof typeof catalogue;

/**
 * Names of the published checkpoints; `*` matches any characters, `?` one.
 *
 * @example
 * listCheckpoints('pvt_v2_b2*.in1k'); // ['pvt_v2_b2.in1k', 'pvt_v2_b2_li.in1k']
 */
export function listCheckpoints(pattern = '*'): CheckpointName[] {
  const names = Object.keys(catalogue) as CheckpointName[];
  return names.filter((name) => matches(name, pattern));
}
