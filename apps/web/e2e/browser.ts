import { findChromium } from '../../../tooling/chromium.mjs';
import { chromium, type Browser } from 'playwright';

/** WebGL and WebGPU in software, a camera that plays a test pattern, and no background network traffic. */
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

/** Starts the Chromium that is installed. */
export function launch(args: readonly string[] = []): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined)
    throw new Error(
      'launch: expected Chromium to be installed, got none; install it or set CHROMIUM_PATH to its path.',
    );
  return chromium.launch({ executablePath, args: [...flags, ...args] });
}
