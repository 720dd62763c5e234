import { findChromium } from '../../../tooling/chromium.mjs';
import { chromium, type Browser } from 'playwright';

/** Software rendering of WebGL and WebGPU, a camera that plays a test card, and no word to anybody. */
const flags = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-features=Vulkan',
  '--use-fake-device-for-media-stream',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** This machine's Chromium. */
export function launch(args: readonly string[] = []): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined)
    throw new Error('launch: expected a Chromium, got none; install it, or name one with CHROMIUM_PATH.');
  return chromium.launch({ executablePath, args: [...flags, ...args] });
}
