/**
 * Two models for the microscope that were trained with this library, as data; the model cards are in the README. `url` points to a safetensors file with float16
 * values; class names and the input's size are in its header, where `createSegmenter` and `createDetector` find them.
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
    sha256: 'c7c70db0787bdb63230b2789caa82fcfd765983106f3c4b6c8cd07474b7af5b5',
    labels: ['background', 'nucleus'],
  },
  'pvt_v2_nano.bccd': {
    model: 'pvt_v2_nano',
    task: 'detect',
    about: 'blood cells under the microscope',
    get url(): URL {
      return new URL('../files/pvt_v2_nano.bccd.safetensors', import.meta.url);
    },
    bytes: 2_602_726,
    sha256: '0d9f8cf697d7c7bf24807b489bb7179f19c3241e657310ef7013681a6c8ad936',
    labels: ['Platelets', 'RBC', 'WBC'],
  },
} as const;
