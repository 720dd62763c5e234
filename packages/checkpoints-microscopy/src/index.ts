/**
 * Two models for the microscope that were trained with this library; their cards are in the README. `url`
 * points to a safetensors file with float16 values, whose header has the class names and the input's size and
 * resize, where `createSegmenter` and `createDetector` read them. `scores` are those of these files, on 134
 * validation images and on 72 test images.
 *
 * @example
 * const segmenter = await createSegmenter(microscopy['pvt_v2_nano.nuclei'].url);
 * const { labels } = await segmenter.segment('slide.png');
 */
export const microscopy = {
  'pvt_v2_nano.nuclei': {
    model: 'pvt_v2_nano',
    task: 'segment',
    about: 'cell nuclei under the microscope',
    get url(): URL {
      return new URL('../files/pvt_v2_nano.nuclei.safetensors', import.meta.url);
    },
    bytes: 2_279_292,
    sha256: '15fe19e68fdd94552efb0e9cda7b355269f76914007cd4b52f213b53ddb000a3',
    labels: ['background', 'nucleus'],
    scores: { meanIoU: 0.9044, 'IoU nucleus': 0.8371 },
  },
  'pvt_v2_nano.bccd': {
    model: 'pvt_v2_nano',
    task: 'detect',
    about: 'blood cells under the microscope',
    get url(): URL {
      return new URL('../files/pvt_v2_nano.bccd.safetensors', import.meta.url);
    },
    bytes: 2_602_742,
    sha256: '12bcc9f81c4202068bc823405d3fa57f8985311545511b4ddfbd57f98bc9a23d',
    labels: ['Platelets', 'RBC', 'WBC'],
    scores: { mAP50: 0.8792, mAP: 0.5308 },
  },
} as const;
