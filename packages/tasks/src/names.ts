/** COCO's 80 classes in the order of mmdetection, and of every detector trained with it. */
export const cocoNames: readonly string[] = (
  'person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign ' +
  'parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella ' +
  'handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard ' +
  'surfboard tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange ' +
  'broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop ' +
  'mouse remote keyboard cell_phone microwave oven toaster sink refrigerator book clock vase scissors ' +
  'teddy_bear hair_drier toothbrush'
)
  .split(' ')
  .map((name) => name.replaceAll('_', ' '));

/** Indices without a class in COCO's own numbering, which torchvision uses. */
const gaps = new Set([0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83]);

/**
 * COCO's classes at the 91 places that torchvision's detectors have for them; places without a class are
 * empty.
 */
export const torchvisionCocoNames: readonly string[] = (() => {
  let next = 0;
  return Array.from({ length: 91 }, (_, index) => (gaps.has(index) ? '' : cocoNames[next++]!));
})();
