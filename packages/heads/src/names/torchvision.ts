import type { RenameTable } from './rename.ts';

/**
 * torchvision's `FeaturePyramidNetwork`, below `backbone.fpn`. Versions before 0.13 have no `.0` after the
 * level.
 *
 * @param levels number of the backbone's levels that the network uses; P6 and P7 come after them
 */
export const torchvisionFpnNames = (levels: number): RenameTable => [
  [/^lateral_convs\.(\d+)\.conv\./, 'inner_blocks.$1.0.', 'inner_blocks.$1.'],
  [new RegExp(`^fpn_convs\\.${levels}\\.conv\\.`), 'extra_blocks.p6.'],
  [new RegExp(`^fpn_convs\\.${levels + 1}\\.conv\\.`), 'extra_blocks.p7.'],
  [/^fpn_convs\.(\d+)\.conv\./, 'layer_blocks.$1.0.', 'layer_blocks.$1.'],
];

/**
 * torchvision's `RetinaNetHead`, below `head`. Versions before 0.13 number the ReLUs between the convolutions
 * too.
 */
export const torchvisionRetinaNetNames = (depth = 4): RenameTable => [
  ...towerNames('cls_convs', 'classification_head.conv', depth),
  ...towerNames('reg_convs', 'regression_head.conv', depth),
  [/^retina_cls\./, 'classification_head.cls_logits.'],
  [/^retina_reg\./, 'regression_head.bbox_reg.'],
];

const towerNames = (ours: string, theirs: string, depth: number): RenameTable =>
  Array.from({ length: depth }, (_, i) => {
    const pattern = new RegExp(`^${ours}\\.${i}\\.conv\\.`);
    return [pattern, `${theirs}.${i}.0.`, `${theirs}.${2 * i}.`] as const;
  });
