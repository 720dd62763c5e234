/**
 * Two models for microscopy that were trained with this library, as data; the model cards are in the
 * README. `url` points to a safetensors file with float16 values; class names and the input's size are in its
 * header, where `createSegmenter` and `createDetector` find them. `scores` were measured on these files: on
 * the 134 images to validate, and on the 72 test images.
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
    bytes: 2_279_268,
    sha256: '9d70b0c152805c4c3c61f31bcce360f09a5f9d3c7c2db4996f582bd04526927f',
    labels: ['background', 'nucleus'],
    scores: { meanIoU: 0.9051, 'IoU nucleus': 0.8383 },
  },
  'pvt_v2_nano.bccd': {
    model: 'pvt_v2_nano',
    task: 'detect',
    about: 'blood cells under the microscope',
    get url(): URL {
      return new URL('../files/pvt_v2_nano.bccd.safetensors', import.meta.url);
    },
    bytes: 2_602_726,
    sha256: '46f5c8b5880fa3e2f26dc7869a3139d675cb2f01e5555ccd05c8b65cd5e700f6',
    labels: ['Platelets', 'RBC', 'WBC'],
    scores: { mAP50: 0.8794, mAP: 0.5316 },
  },
} as const;
