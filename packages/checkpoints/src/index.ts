/**
 * Checkpoints that come with the package, as data. `url` points to a safetensors file with float16 values and
 * the official code's names; `preprocessing` says how its images are prepared; `top1` is in percent.
 *
 * @example
 * const { url, labels } = checkpoints['pvt_v2_nano.cifar10'];
 * const { config, source, preprocessing } = readCheckpoint(await readFile(url));
 */
export const checkpoints = {
  'pvt_v2_nano.cifar10': {
    model: 'pvt_v2_nano',
    get url(): URL {
      return new URL('../files/pvt_v2_nano.cifar10.safetensors', import.meta.url);
    },
    bytes: 1_759_076,
    sha256: '76e72727a8df04b18a6caffe8d1e1f625882d15eae8af9afa5cc5cc9fd70d7be',
    labels: ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'],
    preprocessing: {
      resize: { to: { shortSide: 64 }, resampling: 'bilinear' },
      crop: [64, 64],
      rescale: 1 / 255,
      normalize: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    },
    top1: 78.1,
  },
} as const;
