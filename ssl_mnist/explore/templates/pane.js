// One scatter: its method, its camera, and what mouse, fingers and keys do in it.
// `app` (main.js) holds what all panes share: layout, dimensions, colours, the point that is pointed at or chosen, the drawn digit.

const MOVE_MS = 700; // from one layout to the next

class Pane {
  constructor(app, method) {
    this.app = app;
    this.camera = new Camera();
    this.scatter = app.makeScatter();
    this.overlay = new Overlay();
    this.element = document.createElement("div");
    this.element.className = "pane";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "application");
    this.title = document.createElement("div");
    this.title.className = "pane-title";
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.scatter.element.classList.add("points");
    this.element.append(this.scatter.element, this.overlay.element, this.title, this.tip);
    this.pointers = new Map();
    this.lasso = null;
    this.listen();
    this.setMethod(method);
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  resize() {
    this.camera.resize(this.element.clientWidth, this.element.clientHeight);
    this.app.redraw();
  }

  setMethod(method) {
    this.method = method;
    const right = labels && method.predicted ? percent(Array.from(labels).filter((_, i) => !method.isWrong(i)).length / N, 1) : null;
    this.title.replaceChildren(element("strong", {}, method.name), element("span", { className: "soft" }, right ? ` linear probe: ${right} right` : ""));
    this.element.setAttribute("aria-label",
      `${counted(N, "embedding")} by ${method.name}. Arrow keys move, plus and minus zoom, Enter chooses the point at the cross, Home resets.`);
    this.place(false);
    this.recolour();
  }

  // Bring the points to the layout of now.
  place(moving = true) {
    const { layout, dims } = this.app;
    const to = this.method.placesIn(layout, dims);
    const from = moving && this.to && !matchMedia("(prefers-reduced-motion: reduce)").matches ? this.to : to;
    this.to = to;
    this.started = from === to ? -Infinity : performance.now();
    this.scatter.setPlaces(from, to);
    this.camera.reset(dims, this.extent());
    this.app.redraw();
  }

  // Half of the points' width and height as the camera sees them: in three dimensions they are in a sphere.
  extent() {
    let [x, y, radius] = [0.05, 0.05, 0.05];
    for (let at = 0; at < this.to.length; at += 3) {
      x = Math.max(x, Math.abs(this.to[at]));
      y = Math.max(y, Math.abs(this.to[at + 1]));
      radius = Math.max(radius, Math.hypot(this.to[at], this.to[at + 1], this.to[at + 2]));
    }
    return this.app.dims === 3 ? [radius, radius] : [x, y];
  }

  recolour() {
    const { mask } = this.app, { colourOf, rankOf } = this.app.colouringOf(this.method);
    const colours = new Uint8Array(4 * N), order = Array.from({ length: N }, (_, i) => i);
    for (let i = 0; i < N; i++) {
      colours.set(colourOf(i), 4 * i);
      colours[4 * i + 3] = mask && !mask[i] ? 26 : mask ? 255 : 225;
    }
    const rank = Float32Array.from(order, i => (mask && mask[i] ? 10 : 0) + rankOf(i));
    order.sort((a, b) => rank[a] - rank[b]);
    this.scatter.setColours(colours, order);
    this.app.redraw();
  }

  placeOf(i) {
    return this.camera.project(this.to[3 * i], this.to[3 * i + 1], this.to[3 * i + 2]);
  }

  // Of a dot, in pixels: the fewer points and the nearer, the larger.
  get size() {
    const room = Math.sqrt(this.camera.width * this.camera.height / this.scatter.shown.length);
    const dot = Math.max(4, Math.min(11, 0.6 * room)) * Math.min(3, this.camera.zoom ** 0.35);
    return this.app.images ? Math.max(12, Math.min(30, 1.1 * room)) * Math.min(5, this.camera.zoom ** 0.6) : dot;
  }

  // Returns whether points still move.
  draw() {
    const { app, camera } = this;
    const moved = Math.min(1, (performance.now() - this.started) / MOVE_MS), eased = moved * moved * (3 - 2 * moved);
    this.scatter.draw(camera, { moved: eased, size: this.size, images: app.images, background: app.background() });
    this.overlay.begin(camera);
    if (moved < 1) return true;
    const radius = this.size / 2 + 4, drawn = app.drawn?.get(this.method);
    if (drawn) {
      const place = camera.project(...this.method.placeOf(drawn.embedding, drawn.nearest, app.layout, app.dims));
      if (place) {
        for (const { point } of drawn.nearest) this.mark(point, radius, place);
        this.overlay.star(place, app.drawnName);
      }
    }
    if (app.selected !== null) {
      const place = this.placeOf(app.selected);
      if (place) {
        for (const i of this.method.neighboursOf(app.selected)) this.mark(i, radius, place);
        this.overlay.ring(place, radius + 3, this.overlay.ink, 2.5);
      }
    }
    if (app.hovered !== null && this.placeOf(app.hovered)) this.overlay.ring(this.placeOf(app.hovered), radius, this.overlay.ink, 1.5);
    if (this.lasso) this.overlay.lasso(this.lasso);
    if (this.element.matches(":focus-visible")) this.overlay.cross(camera);
    return false;
  }

  // A neighbour, with a line to what it is near.
  mark(i, radius, from) {
    const place = this.placeOf(i);
    if (!place) return;
    this.overlay.line(from, place);
    this.overlay.ring(place, radius - 2, this.overlay.ink, 1.5);
  }

  // The point nearest to (x, y) within so many pixels; of points as near as each other the one in front. null where there is none.
  pick(x, y, within) {
    let best = null, least = within * within;
    const { mask } = this.app;
    for (const i of this.scatter.shown) {
      if (mask && !mask[i]) continue;
      const place = this.placeOf(i);
      if (!place) continue;
      const score = (place[0] - x) ** 2 + (place[1] - y) ** 2 + (this.app.dims === 3 ? 8 * (place[2] - this.camera.distance) : 0);
      if (score < least) [best, least] = [i, score];
    }
    return best;
  }

  inside(corners) {
    return this.scatter.shown.filter(i => {
      const place = this.placeOf(i);
      if (!place) return false;
      let odd = false; // of a ray's crossings with the lasso's edges
      for (let k = 0, before = corners.length - 1; k < corners.length; before = k++) {
        const [x, y] = corners[k], [fromX, fromY] = corners[before];
        if ((y > place[1]) !== (fromY > place[1]) && place[0] < (fromX - x) * (place[1] - y) / (fromY - y) + x) odd = !odd;
      }
      return odd;
    });
  }

  listen() {
    const { element, camera, app } = this;
    const where = event => {
      const box = element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    element.addEventListener("pointerdown", event => {
      if (event.button > 0 && !event.shiftKey) return;
      element.setPointerCapture(event.pointerId);
      const at = where(event);
      this.pointers.set(event.pointerId, at);
      this.pressed = { at, moved: false };
      this.lasso = this.pointers.size === 1 && (app.tool === "lasso" || (event.shiftKey && app.dims === 2)) ? [at] : null;
    });
    element.addEventListener("pointermove", event => {
      const at = where(event), before = this.pointers.get(event.pointerId);
      if (!before) {
        this.point(at, event.pointerType === "touch" ? 24 : 12);
        return;
      }
      this.pointers.set(event.pointerId, at);
      if (Math.hypot(at[0] - this.pressed.at[0], at[1] - this.pressed.at[1]) > 4) this.pressed.moved = true;
      if (this.lasso) this.lasso.push(at);
      else if (this.pointers.size === 2) this.pinch(event.pointerId, before, at);
      else if (this.pressed.moved) {
        const step = [at[0] - before[0], at[1] - before[1]];
        app.dims === 3 && !event.shiftKey ? camera.orbit(...step) : camera.pan(...step);
      }
      app.redraw();
    });
    const release = event => {
      if (!this.pointers.delete(event.pointerId)) return;
      const { lasso, pressed } = this;
      this.lasso = null;
      if (event.type === "pointercancel" || this.pointers.size) return;
      if (lasso && lasso.length > 3) app.choose(this.inside(lasso), "Lasso");
      else if (!pressed.moved) app.select(this.pick(...pressed.at, event.pointerType === "touch" ? 24 : 12));
      app.redraw();
    };
    element.addEventListener("pointerup", release);
    element.addEventListener("pointercancel", release);
    element.addEventListener("pointerleave", () => this.point(null));
    element.addEventListener("dblclick", () => { camera.reset(app.dims); app.redraw(); });
    element.addEventListener("wheel", event => {
      event.preventDefault();
      camera.approach(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...where(event));
      app.redraw();
    }, { passive: false });
    element.addEventListener("keydown", event => this.key(event));
    for (const name of ["focus", "blur"]) element.addEventListener(name, () => app.redraw());
  }

  pinch(id, before, at) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const length = place => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
    this.camera.approach(length(at) / length(before), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
    this.camera.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    this.pressed.moved = true;
  }

  key(event) {
    const { camera, app } = this, arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key in arrows) {
      const step = arrows[event.key].map(value => value * 40);
      app.dims === 3 && !event.shiftKey ? camera.orbit(-step[0], -step[1]) : camera.pan(...step);
    } else if (event.key === "+" || event.key === "=") camera.approach(1.25);
    else if (event.key === "-") camera.approach(0.8);
    else if (event.key === "Home") camera.reset(app.dims);
    else if (event.key === "Enter" || event.key === " ") app.select(this.pick(camera.width / 2, camera.height / 2, Infinity));
    else if (event.key === "Escape") app.clear();
    else return;
    event.preventDefault();
    app.redraw();
  }

  // Show the image that the mouse points at.
  point(at, within) {
    const found = at && !this.app.isMoving ? this.pick(...at, within) : null;
    this.tip.hidden = found === null;
    if (found !== null) {
      this.tip.replaceChildren(thumbnail(found, 84), caption(found, this.method));
      const right = at[0] > this.camera.width - 150, low = at[1] > this.camera.height - 170;
      this.tip.style.left = `${at[0] + (right ? -116 : 16)}px`;
      this.tip.style.top = `${at[1] + (low ? -140 : 16)}px`;
    }
    if (this.app.hovered !== found) {
      this.app.hovered = found;
      this.app.redraw();
    }
  }
}
