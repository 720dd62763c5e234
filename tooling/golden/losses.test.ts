import * as tf from '@tensorflow/tfjs-core';
import { retinaNetLoss, anchorGenerator, matchAnchors } from '@pvt/heads';
import { expectClose, useBackend, useGradients } from '@pvt/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import golden from './fixtures/losses/retinanet_small_body_96x128_seed16.json';
import { generated, retinaNetParts } from './heads.ts';
import { deviation } from './suite.ts';

const input = [96, 128] as const;
const objects = golden.targets.map(({ boxes, labels }) =>
  labels.map((label, i) => ({ box: boxes[i] as [number, number, number, number], label })),
);

/** Weights of convolutions and linear layers as PyTorch stores them. */
function inTorchLayout(weight: tf.Tensor): tf.Tensor {
  if (weight.rank === 4) return tf.transpose(weight, [3, 2, 0, 1]);
  return weight.rank === 2 ? tf.transpose(weight) : weight;
}

// tfjs has gradients of convolutions on cpu.
describe('RetinaNet as torchvision trains it', () => {
  beforeAll(async () => {
    await useGradients();
    await useBackend('cpu');
  });

  it('gives the same losses in three kinds, and the same gradients', async () => {
    const { backbone, fpn, head, rules } = retinaNetParts(golden, true);
    const images = generated(golden, 'input', golden.input);
    const forward = () => head.forward(fpn.forward(backbone.forward(images).pyramid));

    const matches = objects.map((some) => {
      const levels = [8, 16, 32, 64, 128].map((stride) => ({
        stride,
        grid: [Math.ceil(96 / stride), Math.ceil(128 / stride)] as const,
      }));
      const anchors = levels.flatMap((level) =>
        Array.from({ length: level.grid[0] * level.grid[1] * 9 }, (_, i) =>
          anchorGenerator(rules.anchors, level, input)(i),
        ),
      );
      return [
        ...matchAnchors(
          anchors,
          some.map(({ box }) => box),
        ),
      ];
    });
    expect(matches.flat()).toEqual(Array.from(atob(golden.matches), (c) => (c.charCodeAt(0) << 24) >> 24));

    const params = new Map<string, tf.Variable>([
      [
        'backbone.body.patch_embed1.proj.weight',
        backbone.params.stages[0]!.patch_embed.proj.weight as tf.Variable,
      ],
      [
        'backbone.body.block3.0.attn.kv.weight',
        backbone.params.stages[2]!.blocks[0]!.attn.kv.weight as tf.Variable,
      ],
      ['backbone.fpn.inner_blocks.0.0.weight', fpn.params.lateral_convs[0]!.conv.weight as tf.Variable],
      ['backbone.fpn.extra_blocks.p6.weight', fpn.params.fpn_convs[3]!.conv.weight as tf.Variable],
      ['head.classification_head.conv.0.0.weight', head.params.cls_convs[0]!.conv.weight as tf.Variable],
      ['head.classification_head.cls_logits.bias', head.params.retina_cls.bias as tf.Variable],
      ['head.regression_head.bbox_reg.weight', head.params.retina_reg.weight as tf.Variable],
      ['head.regression_head.bbox_reg.bias', head.params.retina_reg.bias as tf.Variable],
    ]);
    const parts: Record<string, number> = {};
    const { grads } = tf.variableGrads(() => {
      const { classification, regression } = retinaNetLoss(forward(), objects, { rules, input });
      parts['classification'] = classification.dataSync()[0]!;
      parts['regression'] = regression.dataSync()[0]!;
      return tf.add(classification, regression);
    }, [...params.values()]);
    await expectClose(
      [parts['classification']!, parts['regression']!],
      [golden.losses.classification, golden.losses.bbox_regression],
      2e-5,
    );
    const deviating: string[] = [];
    for (const [name, variable] of params) {
      const gradient = grads[variable.name]!;
      const stored = golden.gradients[name as keyof typeof golden.gradients];
      const difference = (await deviation(inTorchLayout(gradient), stored)) / stored.maxAbs;
      if (!(difference <= 5e-5)) deviating.push(`${name} by ${difference}`);
    }
    expect(deviating).toEqual([]);
    const levels = forward();
    const regression = (kind: 'giou' | { smoothL1: number }) =>
      retinaNetLoss(levels, objects, { rules, input, regression: kind }).regression;
    await expectClose(regression({ smoothL1: 1 }), [golden.variants.smooth_l1_beta1], 2e-5);
    await expectClose(regression('giou'), [golden.variants['giou_on_decoded_boxes_eps1e-7']], 2e-5);
  });
});
