// A digit drawn by mouse, finger or keys, and the pixels that the encoder gets of it.
//
// MNIST's digits were scaled to fit a box of 20 x 20 pixels, their aspect ratio kept, and put into 28 x 28 so that their centre of mass
// is in the middle (LeCun et al. 1998). The drawing is kept as strokes, so that its lines are as thick as MNIST's at any size.

const BOX = 20 / 28; // of the smaller side
const THICK = 2.7 / 28; // a line of MNIST, of the smaller side
const FINE = 8; // times as many pixels a side before they are averaged
const PEN_STEP = 1 / 28;

class Drawing {
  // changed: called whenever there is more or less on the canvas.
  constructor(canvas, preview, changed) {
    Object.assign(this, { canvas, preview, changed });
    this.strokes = []; // each a list of [x, y] in [0, 1]
    this.pen = { x: 0.5, y: 0.3, down: false, shown: false }; // of the keyboard
    this.fine = Object.assign(document.createElement("canvas"), { width: meta.width * FINE, height: meta.height * FINE });
    Object.assign(preview, { width: meta.width, height: meta.height });
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get isEmpty() {
    return !this.strokes.length;
  }

  clear() {
    this.strokes = [];
    this.pen.down = false;
    this.update();
  }

  undo() {
    this.strokes.pop();
    this.pen.down = false;
    this.update();
  }

  update() {
    this.draw();
    this.changed();
  }

  listen() {
    const { canvas } = this;
    const where = event => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    let drawing = null; // the pointer that draws
    canvas.addEventListener("pointerdown", event => {
      if (drawing !== null || event.button > 0) return;
      drawing = event.pointerId;
      canvas.setPointerCapture(drawing);
      this.pen.shown = false;
      this.strokes.push([where(event)]);
      this.update();
    });
    canvas.addEventListener("pointermove", event => {
      if (event.pointerId !== drawing) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.strokes.at(-1).push(where(each));
      this.update();
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => {
      if (event.pointerId === drawing) drawing = null;
    });
    canvas.addEventListener("keydown", event => this.key(event));
    canvas.addEventListener("focus", () => { this.pen.shown = canvas.matches(":focus-visible"); this.draw(); });
    canvas.addEventListener("blur", () => { Object.assign(this.pen, { shown: false, down: false }); this.draw(); });
  }

  // Arrow keys move a pen, space lowers and lifts it.
  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, { pen } = this;
    if (event.key in steps) {
      const [dx, dy] = steps[event.key], inside = value => Math.max(0.02, Math.min(0.98, value));
      pen.x = inside(pen.x + dx * PEN_STEP);
      pen.y = inside(pen.y + dy * PEN_STEP);
      if (pen.down) this.strokes.at(-1).push([pen.x, pen.y]);
    } else if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) this.strokes.push([[pen.x, pen.y]]);
    } else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete" || event.key === "Escape") this.clear();
    else return;
    pen.shown = true;
    event.preventDefault();
    this.update();
  }

  // Strokes as smooth lines on a 2D context; place: [x, y] in [0, 1] -> its pixels.
  static ink(context, strokes, width, place) {
    Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: "#fff", fillStyle: "#fff" });
    for (const stroke of strokes) {
      const points = stroke.map(place);
      context.beginPath();
      if (points.length === 1) {
        context.arc(...points[0], width / 2, 0, 2 * Math.PI);
        context.fill();
        continue;
      }
      context.moveTo(...points[0]);
      for (let i = 1; i < points.length - 1; i++) { // through the middles between points, which bend the line
        const middle = [0, 1].map(k => (points[i][k] + points[i + 1][k]) / 2);
        context.quadraticCurveTo(...points[i], ...middle);
      }
      context.lineTo(...points.at(-1));
      context.stroke();
    }
  }

  draw() {
    const density = devicePixelRatio || 1, side = Math.round(this.canvas.clientWidth * density);
    if (!side) return;
    if (this.canvas.width !== side) Object.assign(this.canvas, { width: side, height: side });
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, side, side);
    Drawing.ink(context, this.strokes, side * 0.085, ([x, y]) => [x * side, y * side]);
    if (this.pen.shown) {
      const [x, y] = [this.pen.x * side, this.pen.y * side];
      context.beginPath();
      context.arc(x, y, side * 0.03, 0, 2 * Math.PI);
      Object.assign(context, { lineWidth: 2 * density, strokeStyle: this.pen.down ? "#ffb000" : "#8ab4ff", fillStyle: "#ffb000" });
      context.stroke();
      if (this.pen.down) context.fill();
    }
  }

  // (1, H, W) in [0, 1], as MNIST's digits were made; also shown in the preview.
  pixels() {
    const { width, height } = meta, small = Math.min(width, height), context = this.fine.getContext("2d", { willReadFrequently: true });
    const xs = this.strokes.flat().map(point => point[0]), ys = this.strokes.flat().map(point => point[1]);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    // A dot is not blown up to a digit: what is smaller than a quarter of the canvas is scaled as if it were that large.
    const scale = small * FINE * (BOX - THICK) / Math.max(right - left, bottom - top, 0.25);
    const ink = (dx, dy) => {
      context.clearRect(0, 0, this.fine.width, this.fine.height);
      Drawing.ink(context, this.strokes, small * FINE * THICK,
        ([x, y]) => [(x - (left + right) / 2) * scale + this.fine.width / 2 + dx, (y - (top + bottom) / 2) * scale + this.fine.height / 2 + dy]);
      return context.getImageData(0, 0, this.fine.width, this.fine.height).data;
    };
    const centred = centre(ink(0, 0), this.fine.width);
    const shift = [this.fine.width / 2 - centred[0], this.fine.height / 2 - centred[1]].map(value => Math.round(value / FINE) * FINE);
    const pixels = averaged(ink(...shift), width, height);
    show(this.preview, pixels);
    return pixels;
  }
}

// The centre of mass [x, y] of RGBA pixels.
function centre(data, width) {
  let total = 0, x = 0, y = 0;
  for (let at = 3, i = 0; at < data.length; at += 4, i++) {
    if (!data[at]) continue;
    total += data[at];
    x += data[at] * (i % width + 0.5);
    y += data[at] * (Math.floor(i / width) + 0.5);
  }
  return [x / total, y / total];
}

// RGBA pixels -> (1, H, W) means of FINE x FINE of them, ink is 1.
function averaged(data, width, height) {
  const pixels = new Float32Array(width * height);
  for (let y = 0; y < height * FINE; y++) for (let x = 0; x < width * FINE; x++) {
    pixels[Math.floor(y / FINE) * width + Math.floor(x / FINE)] += data[4 * (y * width * FINE + x) + 3] / (255 * FINE * FINE);
  }
  return pixels;
}

// (C, H, W) in [0, 1] on a canvas of that size.
function show(canvas, pixels) {
  const { width, height, channels } = meta, size = width * height, image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = 255 * pixels[(channels === 3 ? k : 0) * size + i];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// An image file of any size -> (C, H, W) in [0, 1], squashed to the encoder's size as data=image_folder does by default.
async function pixelsOf(file) {
  const { width, height, channels } = meta;
  const bitmap = await createImageBitmap(file, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
  const canvas = Object.assign(document.createElement("canvas"), { width, height }), context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // under transparent parts
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height), pixels = new Float32Array(channels * width * height);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    const values = channels === 3 ? [r, g, b] : [0.299 * r + 0.587 * g + 0.114 * b];
    values.forEach((value, k) => { pixels[k * width * height + i] = value / 255; });
  }
  return pixels;
}
