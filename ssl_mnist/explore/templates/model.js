// The encoders, run in the browser by onnxruntime-web: one thread, no worker, nothing is fetched.

let runtime = null;

// The program is imported from a blob, since a page opened from disk has no address to import from.
async function readRuntime() {
  const program = URL.createObjectURL(new Blob([await inflated("program")], { type: "text/javascript" }));
  const ort = await import(program);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await inflated("wasm");
  return ort;
}

class Encoder {
  static async read(method) {
    runtime ??= readRuntime();
    const encoder = new Encoder();
    encoder.ort = await runtime;
    encoder.session = await encoder.ort.InferenceSession.create(await inflated(`model${method.index}`), { executionProviders: ["wasm"] });
    return encoder;
  }

  // pixels: (C, H, W) in [0, 1] -> { embedding (D,), probabilities (K,) or null }
  async run(pixels) {
    const images = new this.ort.Tensor("float32", pixels, [1, meta.channels, meta.height, meta.width]);
    const { embedding, probabilities } = await this.session.run({ images });
    return { embedding: embedding.data, probabilities: probabilities?.data ?? null };
  }
}
