// What the page holds: `meta`, a JSON object, and arrays and programs in compressed base64 texts.
// N: points, D: width of an embedding, R: directions (neighbours.py), K: classes.

const meta = JSON.parse(document.getElementById("meta").textContent);
const N = meta.num;
const TYPES = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array };

function bytesOf(id) {
  const text = atob(document.getElementById(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflated(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function arraysOf(id, places) {
  const { buffer } = await inflated(id);
  return Object.fromEntries(Object.entries(places).map(([name, { type, at, shape }]) =>
    [name, new TYPES[type](buffer, at, shape.reduce((a, b) => a * b, 1))]));
}

// One encoder's view of the images.
class Method {
  static async read(i) {
    const about = meta.methods[i];
    const method = Object.assign(new Method(), { index: i, name: about.name, about });
    method.arrays = await arraysOf(`points${i}`, about.arrays);
    method.predicted = method.arrays.predicted ?? null; // (N,)
    method.numNeighbours = about.arrays.neighbours.shape[1];
    method.width = about.arrays.codes.shape[0]; // R
    method.places = new Map();
    return method;
  }

  // (N, 3) in [-1, 1]; in two dimensions the third is 0. PCA's first two axes are PCA in two dimensions.
  placesIn(layout, dims) {
    const key = `${layout}${dims}`;
    if (!this.places.has(key)) {
      const name = layout === "pca" ? "pca3" : key;
      const stored = this.arrays[name], width = this.about.arrays[name].shape[1];
      const places = new Float32Array(3 * N);
      for (let i = 0; i < N; i++) for (let k = 0; k < Math.min(dims, width); k++) places[3 * i + k] = stored[i * width + k] / 32767;
      this.places.set(key, places);
    }
    return this.places.get(key);
  }

  // The points nearest to point i by cosine, as computed from the whole embeddings, the nearest first.
  neighboursOf(i) {
    return Array.from(this.arrays.neighbours.subarray(i * this.numNeighbours, (i + 1) * this.numNeighbours));
  }

  confidenceOf(i) {
    return this.arrays.confidence[i] / 255;
  }

  isWrong(i) {
    return this.predicted !== null && this.predicted[i] !== labels[i];
  }

  // The points nearest to an embedding (D,) by cosine, as far as the codes tell it: [{ point, cosine }], the nearest first. The cosines
  // lack a summand that is the same for all points.
  nearest(embedding, num) {
    const { codes, directions } = this.arrays, width = this.width, length = Math.hypot(...embedding) || 1;
    const cosines = new Float32Array(N);
    for (let r = 0; r < width; r++) {
      let along = 0;
      for (let d = 0; d < embedding.length; d++) along += embedding[d] * directions[d * width + r];
      along *= this.about.step / (32767 * length);
      for (let i = 0, at = r * N; i < N; i++, at++) cosines[i] += along * codes[at];
    }
    const found = []; // sorted, at most num
    for (let i = 0; i < N; i++) {
      const cosine = cosines[i];
      if (found.length === num && cosine <= found[num - 1].cosine) continue;
      let at = found.length;
      while (at > 0 && found[at - 1].cosine < cosine) at--;
      found.splice(at, 0, { point: i, cosine });
      if (found.length > num) found.pop();
    }
    return found;
  }

  // Where an embedding lies (3,). PCA is a projection and exact; t-SNE and UMAP have none, so the mean of the nearest points' places
  // is taken, each with the weight exp(cosine / 0.05).
  placeOf(embedding, nearest, layout, dims) {
    const place = [0, 0, 0];
    if (layout === "pca") {
      const { axes, mean } = this.arrays;
      for (let d = 0; d < mean.length; d++) for (let k = 0; k < dims; k++) place[k] += (embedding[d] - mean[d]) * axes[3 * d + k];
      return place;
    }
    const places = this.placesIn(layout, dims);
    let total = 0;
    for (const { point, cosine } of nearest) {
      const weight = Math.exp((cosine - nearest[0].cosine) / 0.05);
      total += weight;
      for (let k = 0; k < dims; k++) place[k] += weight * places[3 * point + k];
    }
    return place.map(value => value / total);
  }
}

let labels = null; // (N,), null where the images have none
let sheetAddress = ""; // of the picture that holds all images, `meta.sheet` says how

async function readShared() {
  if (meta.labels) labels = (await arraysOf("labels", meta.labels)).labels;
  sheetAddress = URL.createObjectURL(new Blob([bytesOf("sheet")], { type: "image/webp" }));
  const picture = new Image();
  picture.src = sheetAddress;
  await picture.decode();
  return picture;
}

const className = k => meta.classes[k];
const percent = (part, digits = 0) => `${(100 * part).toFixed(digits)} %`;
const counted = (num, noun) => `${num.toLocaleString("en")} ${noun}${num === 1 ? "" : "s"}`;
