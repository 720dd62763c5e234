/** What to tell the visitor for each error of `getUserMedia`. */
const explanations: Readonly<Record<string, string>> = {
  NotAllowedError:
    'Access to the camera was denied. Allow it in the address bar and try again, or open an image instead.',
  NotFoundError: 'No camera was found. Connect one and try again, or open an image instead.',
  NotReadableError: 'Another program is using the camera. Close it and try again.',
  OverconstrainedError: 'The camera does not support the requested size. Open an image instead.',
};

/** Plays the camera's stream in a video element. */
export class Camera {
  readonly #video: HTMLVideoElement;
  #stream: MediaStream | undefined;

  constructor(video: HTMLVideoElement) {
    this.#video = video;
  }

  get on(): boolean {
    return this.#stream !== undefined;
  }

  /** @throws Error with a message for the visitor if there is no camera or no permission */
  async start(onEnd: () => void): Promise<void> {
    if (navigator.mediaDevices === undefined)
      throw new Error('The camera is available only over https and on localhost. Open an image instead.');
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: 'environment', width: { ideal: 640 }, height: { ideal: 480 } },
      });
    } catch (cause) {
      const { name, message } = cause as Error;
      throw new Error(
        explanations[name] ?? `The camera could not be started (${message}). Open an image instead.`,
        { cause },
      );
    }
    this.#stream.getVideoTracks()[0]?.addEventListener('ended', onEnd);
    this.#video.srcObject = this.#stream;
    await this.#video.play();
  }

  stop(): void {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = undefined;
    this.#video.srcObject = null;
  }
}
