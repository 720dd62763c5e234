import type { NameTable } from './rules.ts';

/** timm, `models/pvt_v2.py`. It has no PVT v1. */
export const timmV2 = {
  'stages.0.patch_embed.proj.*': 'patch_embed.proj.*',
  'stages.0.patch_embed.norm.*': 'patch_embed.norm.*',
  'stages.{stage}.patch_embed.proj.*': 'stages.{stage}.downsample.proj.*',
  'stages.{stage}.patch_embed.norm.*': 'stages.{stage}.downsample.norm.*',
  'stages.{stage}.blocks.{block}.norm1.*': 'stages.{stage}.blocks.{block}.norm1.*',
  'stages.{stage}.blocks.{block}.attn.q.*': 'stages.{stage}.blocks.{block}.attn.q.*',
  'stages.{stage}.blocks.{block}.attn.kv.*': 'stages.{stage}.blocks.{block}.attn.kv.*',
  'stages.{stage}.blocks.{block}.attn.proj.*': 'stages.{stage}.blocks.{block}.attn.proj.*',
  'stages.{stage}.blocks.{block}.attn.sr.*': 'stages.{stage}.blocks.{block}.attn.sr.*',
  'stages.{stage}.blocks.{block}.attn.norm.*': 'stages.{stage}.blocks.{block}.attn.norm.*',
  'stages.{stage}.blocks.{block}.norm2.*': 'stages.{stage}.blocks.{block}.norm2.*',
  'stages.{stage}.blocks.{block}.mlp.fc1.*': 'stages.{stage}.blocks.{block}.mlp.fc1.*',
  'stages.{stage}.blocks.{block}.mlp.dwconv.*': 'stages.{stage}.blocks.{block}.mlp.dwconv.*',
  'stages.{stage}.blocks.{block}.mlp.fc2.*': 'stages.{stage}.blocks.{block}.mlp.fc2.*',
  'stages.{stage}.norm.*': 'stages.{stage}.norm.*',
  'head.*': 'head.*',
} as const satisfies NameTable;
