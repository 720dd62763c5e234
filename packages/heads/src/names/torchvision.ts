import type { RenameTable } from './rename.ts';

/**
 * torchvision's `FeaturePyramidNetwork`, below `backbone.fpn`. Versions before 0.13 have no `.0` behind the level.
 *
 * @param levels of the backbone that the network uses; P6 and P7 come after
 */
export const torchvisionFpnNames = (levels: number): RenameTable => [
  [/^lateral_convs\.(\d+)\.conv\./, 'inner_blocks.$1.0.', 'inner_blocks.$1.'],
  [new RegExp(`^fpn_convs\\.${levels}\\.conv\\.`), 'extra_blocks.p6.'],
  [new RegExp(`^fpn_convs\\.${levels + 1}\\.conv\\.`), 'extra_blocks.p7.'],
  [/^fpn_convs\.(\d+)\.conv\./, 'layer_blocks.$1.0.', 'layer_blocks.$1.'],
];

/** torchvision's `RetinaNetHead`, below `head`. Versions before 0.13 number the ReLUs between the convolutions too. */
export const torchvisionRetinaNetNames = (depth = 4): RenameTable => [
  ...Array.from(
    { length: depth },
    (_, i) =>
      [
        new RegExp(`^cls_convs\\.${i}\\.conv\\.`),
        `classification_head.conv.${i}.0.`,
        `classification_head.conv.${2 * i}.`,
      ] as const,
  ),
  ...Array.from(
    { length: depth },
    (_, i) =>
      [
        new RegExp(`^reg_convs\\.${i}\\.conv\\.`),
        `regression_head.conv.${i}.0.`,
        `regression_head.conv.${2 * i}.`,
      ] as const,
  ),
  [/^retina_cls\./, 'classification_head.cls_logits.'],
  [/^retina_reg\./, 'regression_head.bbox_reg.'],
];
