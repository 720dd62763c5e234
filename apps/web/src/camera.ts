/** What a browser calls the reasons for not giving a camera. */
const reasons: Readonly<Record<string, string>> = {
  NotAllowedError:
    'The camera was refused. Allow it in the address bar and try again, or open an image instead.',
  NotFoundError: 'No camera was found. Connect one and try again, or open an image instead.',
  NotReadableError: 'The camera is in use by another program. Close that one and try again.',
  OverconstrainedError: 'The camera cannot deliver images of this kind. Open an image instead.',
};

/** The camera's image in a video element, until `stop`. */
export class Camera {
  readonly #video: HTMLVideoElement;
  #stream: MediaStream | undefined;

  constructor(video: HTMLVideoElement) {
    this.#video = video;
  }

  get on(): boolean {
    return this.#stream !== undefined;
  }

  /** @throws Error with a sentence for the visitor where there is no camera */
  async start(onEnd: () => void): Promise<void> {
    if (navigator.mediaDevices === undefined)
      throw new Error(
        'The camera needs a page that is served over https or from this machine. Open an image instead.',
      );
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: 'environment', width: { ideal: 640 }, height: { ideal: 480 } },
      });
    } catch (cause) {
      throw new Error(
        reasons[(cause as Error).name] ??
          `The camera could not be started (${(cause as Error).message}). Open an image instead.`,
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
