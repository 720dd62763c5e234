import type { NameTable } from './rules.ts';

const shared = {
  'stages.{stage}.patch_embed.proj.*': 'patch_embed{stage+1}.proj.*',
  'stages.{stage}.patch_embed.norm.*': 'patch_embed{stage+1}.norm.*',
  'stages.{stage}.blocks.{block}.norm1.*': 'block{stage+1}.{block}.norm1.*',
  'stages.{stage}.blocks.{block}.attn.q.*': 'block{stage+1}.{block}.attn.q.*',
  'stages.{stage}.blocks.{block}.attn.kv.*': 'block{stage+1}.{block}.attn.kv.*',
  'stages.{stage}.blocks.{block}.attn.proj.*': 'block{stage+1}.{block}.attn.proj.*',
  'stages.{stage}.blocks.{block}.attn.sr.*': 'block{stage+1}.{block}.attn.sr.*',
  'stages.{stage}.blocks.{block}.attn.norm.*': 'block{stage+1}.{block}.attn.norm.*',
  'stages.{stage}.blocks.{block}.norm2.*': 'block{stage+1}.{block}.norm2.*',
  'stages.{stage}.blocks.{block}.mlp.fc1.*': 'block{stage+1}.{block}.mlp.fc1.*',
  'stages.{stage}.blocks.{block}.mlp.fc2.*': 'block{stage+1}.{block}.mlp.fc2.*',
  'head.*': 'head.*',
} as const satisfies NameTable;

/** whai362/PVT, `classification/pvt.py`. */
export const officialV1 = {
  ...shared,
  'stages.{stage}.pos_embed': 'pos_embed{stage+1}',
  'stages.{last}.cls_token': 'cls_token',
  'stages.{last}.norm.*': 'norm.*',
} as const satisfies NameTable;

/** whai362/PVT, `classification/pvt_v2.py`. */
export const officialV2 = {
  ...shared,
  'stages.{stage}.blocks.{block}.mlp.dwconv.*': 'block{stage+1}.{block}.mlp.dwconv.dwconv.*',
  'stages.{stage}.norm.*': 'norm{stage+1}.*',
} as const satisfies NameTable;
