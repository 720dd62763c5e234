import type { NameTable } from './rules.ts';

/** transformers, `models/pvt/modeling_pvt.py`. */
export const huggingFaceV1 = {
  'stages.{stage}.pos_embed': 'pvt.encoder.patch_embeddings.{stage}.position_embeddings',
  'stages.{last}.cls_token': 'pvt.encoder.patch_embeddings.{last}.cls_token',
  'stages.{stage}.patch_embed.proj.*': 'pvt.encoder.patch_embeddings.{stage}.projection.*',
  'stages.{stage}.patch_embed.norm.*': 'pvt.encoder.patch_embeddings.{stage}.layer_norm.*',
  'stages.{stage}.blocks.{block}.norm1.*': 'pvt.encoder.block.{stage}.{block}.layer_norm_1.*',
  'stages.{stage}.blocks.{block}.attn.q.*': 'pvt.encoder.block.{stage}.{block}.attention.self.query.*',
  'stages.{stage}.blocks.{block}.attn.kv.*': [
    'pvt.encoder.block.{stage}.{block}.attention.self.key.*',
    'pvt.encoder.block.{stage}.{block}.attention.self.value.*',
  ],
  'stages.{stage}.blocks.{block}.attn.sr.*':
    'pvt.encoder.block.{stage}.{block}.attention.self.sequence_reduction.*',
  'stages.{stage}.blocks.{block}.attn.norm.*':
    'pvt.encoder.block.{stage}.{block}.attention.self.layer_norm.*',
  'stages.{stage}.blocks.{block}.attn.proj.*': 'pvt.encoder.block.{stage}.{block}.attention.output.dense.*',
  'stages.{stage}.blocks.{block}.norm2.*': 'pvt.encoder.block.{stage}.{block}.layer_norm_2.*',
  'stages.{stage}.blocks.{block}.mlp.fc1.*': 'pvt.encoder.block.{stage}.{block}.mlp.dense1.*',
  'stages.{stage}.blocks.{block}.mlp.fc2.*': 'pvt.encoder.block.{stage}.{block}.mlp.dense2.*',
  'stages.{last}.norm.*': 'pvt.encoder.layer_norm.*',
  'head.*': 'classifier.*',
} as const satisfies NameTable;

/** transformers, `models/pvt_v2/modeling_pvt_v2.py`. */
export const huggingFaceV2 = {
  'stages.{stage}.patch_embed.proj.*': 'pvt_v2.encoder.layers.{stage}.patch_embedding.proj.*',
  'stages.{stage}.patch_embed.norm.*': 'pvt_v2.encoder.layers.{stage}.patch_embedding.layer_norm.*',
  'stages.{stage}.blocks.{block}.norm1.*': 'pvt_v2.encoder.layers.{stage}.blocks.{block}.layer_norm_1.*',
  'stages.{stage}.blocks.{block}.attn.q.*': 'pvt_v2.encoder.layers.{stage}.blocks.{block}.attention.query.*',
  'stages.{stage}.blocks.{block}.attn.kv.*': [
    'pvt_v2.encoder.layers.{stage}.blocks.{block}.attention.key.*',
    'pvt_v2.encoder.layers.{stage}.blocks.{block}.attention.value.*',
  ],
  'stages.{stage}.blocks.{block}.attn.sr.*':
    'pvt_v2.encoder.layers.{stage}.blocks.{block}.attention.spatial_reduction.*',
  'stages.{stage}.blocks.{block}.attn.norm.*':
    'pvt_v2.encoder.layers.{stage}.blocks.{block}.attention.layer_norm.*',
  'stages.{stage}.blocks.{block}.attn.proj.*':
    'pvt_v2.encoder.layers.{stage}.blocks.{block}.attention.proj.*',
  'stages.{stage}.blocks.{block}.norm2.*': 'pvt_v2.encoder.layers.{stage}.blocks.{block}.layer_norm_2.*',
  'stages.{stage}.blocks.{block}.mlp.fc1.*': 'pvt_v2.encoder.layers.{stage}.blocks.{block}.mlp.dense1.*',
  'stages.{stage}.blocks.{block}.mlp.dwconv.*':
    'pvt_v2.encoder.layers.{stage}.blocks.{block}.mlp.dwconv.dwconv.*',
  'stages.{stage}.blocks.{block}.mlp.fc2.*': 'pvt_v2.encoder.layers.{stage}.blocks.{block}.mlp.dense2.*',
  'stages.{stage}.norm.*': 'pvt_v2.encoder.layers.{stage}.layer_norm.*',
  'head.*': 'classifier.*',
} as const satisfies NameTable;
