/**
 * Checkpoints that come with the package, as data. `url` points to a safetensors file with float16 values and the
 * official code's names; `recipe` says how its pictures are prepared; `top1` is in percent.
 *
 * @example
 * const { url, labels } = checkpoints['pvt_v2_nano.cifar10'];
 * const { config, source, recipe } = readCheckpoint(await readFile(url));
 */
export const checkpoints = {
  'pvt_v2_nano.cifar10': {
    model: 'pvt_v2_nano',
    get url(): URL {
      return new URL('../files/pvt_v2_nano.cifar10.safetensors', import.meta.url);
    },
    bytes: 1_759_068,
    sha256: '3394c801d4e1675485a8d5e7c61924bd3ef06f439f802e9dd8413d9f180a29f8',
    labels: ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'],
    recipe: {
      resize: { to: { shortSide: 64 }, resampling: 'bilinear' },
      crop: [64, 64],
      rescale: 1 / 255,
      normalize: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    },
    top1: 78.1,
  },
} as const;
