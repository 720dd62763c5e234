/**
 * What a thread does: the same on the calling thread, in a worker of Node and in a worker of a page. It uses
 * nothing from outside of itself, because workers receive its source as text (compile.mjs generates that).
 *
 * @param {(message: object, transfer: ArrayBuffer[]) => void} reply
 * @returns {(message: object) => void}
 */
export function createMessageHandler(reply) {
  let memory;
  let run;
  let start;

  /**
   * Engines reserve the maximum in advance; if address space is scarce, a smaller one has to do.
   */
  function createMemory() {
    for (let maximum = 65536; ; maximum /= 2) {
      try {
        return new WebAssembly.Memory({ initial: 1, maximum, shared: true });
      } catch (error) {
        if (maximum <= 512) throw error;
      }
    }
  }

  function grow(bytes) {
    const missing = Math.ceil(bytes / 65536) - memory.buffer.byteLength / 65536;
    if (missing > 0) memory.grow(missing);
  }

  function execute({ calls, count, scratch, scratchBytes }) {
    const ownScratch = scratch + start.thread * scratchBytes;
    if (count > 0) run(calls, count, start.thread, start.threads, ownScratch, start.control);
  }

  return (message) => {
    if (message.module) {
      start = message;
      memory = start.memory ?? createMemory();
      run = new WebAssembly.Instance(start.module, { env: { memory } }).exports.run;
      reply({ started: true }, []);
      return;
    }
    // The first thread alone reads and writes for the caller.
    if (start.thread > 0) {
      execute(message);
      return;
    }
    try {
      grow(message.memoryBytes);
    } catch {
      reply({ exhausted: message.memoryBytes }, []);
      return;
    }
    for (const [address, bytes] of message.writes) new Uint8Array(memory.buffer).set(bytes, address);
    execute(message);
    const results = message.reads.map(
      ([address, bytes]) => new Uint8Array(memory.buffer).slice(address, address + bytes).buffer,
    );
    reply({ results }, results);
  };
}
