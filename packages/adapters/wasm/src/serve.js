/**
 * What a thread does: the same on the calling thread, in a worker of Node and in a worker of a page. It uses nothing from
 * outside of itself, as workers get it as text (compile.mjs writes that).
 *
 * @param {(message: object, transfer: ArrayBuffer[]) => void} answer
 * @returns {(message: object) => void}
 */
export function serve(answer) {
  let memory;
  let run;
  let me;
  return (message) => {
    if (message.module) {
      me = message;
      memory = me.memory;
      // Engines reserve the maximum beforehand; where addresses are scarce, less has to do.
      for (let maximum = 65536; !memory; maximum /= 2) {
        try {
          memory = new WebAssembly.Memory({ initial: 1, maximum, shared: true });
        } catch (error) {
          if (maximum <= 512) throw error;
        }
      }
      run = new WebAssembly.Instance(me.module, { env: { memory } }).exports.run;
      answer({ ready: true }, []);
      return;
    }
    if (me.thread === 0) {
      const missing = Math.ceil(message.end / 65536) - memory.buffer.byteLength / 65536;
      if (missing > 0) {
        try {
          memory.grow(missing);
        } catch {
          answer({ exhausted: message.end }, []);
          return;
        }
      }
      for (const [address, bytes] of message.writes) new Uint8Array(memory.buffer).set(bytes, address);
    }
    if (message.count > 0)
      run(
        message.steps,
        message.count,
        me.thread,
        me.threads,
        message.scratch + me.thread * message.scratchBytes,
        me.control,
      );
    if (me.thread > 0) return;
    const results = message.reads.map(
      ([address, bytes]) => new Uint8Array(memory.buffer).slice(address, address + bytes).buffer,
    );
    answer({ results }, results);
  };
}
