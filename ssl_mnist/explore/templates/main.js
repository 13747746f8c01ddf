// Puts the parts together, and holds what they share.

const $ = id => document.getElementById(id);
const NUM_NEAREST = 10; // of a drawing

const app = {
  methods: [], panes: [],
  layout: "tsne", dims: 2, colour: "class", tool: "move", images: false,
  selected: null, hovered: null, selection: null, mask: null, // mask: (N,) 1 for what is selected, null where nothing is
  drawn: null, drawnName: "", // drawn: by method, what its encoder makes of the drawing

  makeScatter() {
    try {
      if (this.plain) throw new Error("no WebGL 2");
      return new Scatter(this.picture);
    } catch (error) {
      this.plain = true;
      $("fallback").hidden = false;
      console.warn(error);
      $("fallback").textContent = `This browser has no WebGL 2: ${counted(Math.min(N, MAX_CIRCLES), "point")} of ${N.toLocaleString("en")} are drawn as SVG.`;
      return new SvgScatter();
    }
  },

  methodsShown() {
    return this.panes.map(pane => pane.method);
  },

  colouringOf(method) {
    const other = this.methods[Number($("second")?.value ?? 0)] ?? method;
    return colouring(this.colour, method, method === other ? this.methods[Number($("first").value)] : other);
  },

  background() {
    this.paper ??= rgbOfStyle("--stage");
    return this.paper;
  },

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.isMoving = this.panes.map(pane => pane.draw()).some(Boolean);
      if (this.isMoving) this.redraw();
    });
  },

  recolour() {
    for (const pane of this.panes) pane.recolour();
    this.drawLegend();
  },

  hover(i) {
    this.hovered = i;
    this.redraw();
  },

  select(i) {
    this.selected = i;
    this.hovered = null;
    this.showDetails();
    this.redraw();
  },

  // Select several points; the others fade.
  choose(points, title) {
    this.selection = points.length ? { title, points } : null;
    this.mask = points.length ? new Uint8Array(N) : null;
    for (const i of points) this.mask[i] = 1;
    this.selected = null;
    this.showDetails();
    this.recolour();
  },

  clear() {
    $("search").value = "";
    $("search-note").textContent = "";
    this.choose([], "");
  },

  showDetails() {
    const details = $("details"), nothing = this.selected === null && !this.selection;
    $("clear").hidden = nothing;
    details.replaceChildren(...(this.selected !== null ? pointCard(this.selected, this) : this.selection ? selectionCard(this.selection, this) : hint()));
  },

  drawLegend() {
    const method = this.panes[0].method, { groups } = this.colouringOf(method), all = Array.from({ length: N }, (_, i) => i);
    $("legend").replaceChildren(...groups.map(({ title, colour, has }) => {
      const dot = element("span", { className: "dot" });
      dot.style.background = cssOf(colour);
      const num = all.filter(has).length, chosen = this.selection?.title === title;
      const chip = element("button", { className: "chip", ariaPressed: String(chosen) }, dot, title, element("span", { className: "soft" }, num.toLocaleString("en")));
      chip.onclick = () => chosen ? this.clear() : this.choose(all.filter(has), title);
      return chip;
    }));
  },
};

function hint() {
  const words = ["Point at a dot to see its image, choose it for its neighbours, draw a lasso around several."];
  if (meta.drawn && $("draw")) words.push(`Or draw a ${meta.drawn}.`);
  return [element("p", { className: "soft" }, words.join(" "))];
}

function rgbOfStyle(name) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return rgb(context.fillStyle);
}

// A group of buttons of which one is pressed.
function choice(id, options, chosen, changed) {
  const group = $(id);
  group.replaceChildren(...options.map(([value, title]) => {
    const button = element("button", { type: "button", ariaPressed: String(value === chosen), value }, title);
    button.onclick = () => {
      for (const each of group.children) each.ariaPressed = String(each === button);
      changed(value);
    };
    return button;
  }));
}

function note() {
  const { title } = meta.layouts.find(({ name }) => name === app.layout), what = meta.drawn ? "A drawing" : "An image of yours";
  const shares = app.panes[0].method.about.shares.slice(0, app.dims).map(share => percent(share)).join(", ");
  const few = app.layout === "tsne" && app.dims === 3 && N > meta.max_tsne_3d
    ? ` It was made of at most ${meta.max_tsne_3d.toLocaleString("en")} points; the others are put between those nearest to them.` : "";
  const words = app.layout === "pca"
    ? [`PCA: the axes hold ${shares} of the variance.`, `${what} is projected exactly.`]
    : [`${title} keeps near what is near; distances between groups mean little.${few}`,
      `It has no projection: ${what.toLowerCase()} is put at the weighted mean of its ${NUM_NEAREST} nearest neighbours' places.`];
  $("note").textContent = words.slice(0, meta.methods.some(each => each.runs) ? 2 : 1).join(" ");
}

function setUpTools() {
  const move = () => { for (const pane of app.panes) pane.place(); note(); };
  choice("layouts", meta.layouts.map(({ name, title }) => [name, title]), app.layout, value => { app.layout = value; move(); });
  choice("dims", [[2, "2D"], [3, "3D"]], app.dims, value => { app.dims = value; move(); });
  choice("shapes", [[false, "Dots"], [true, "Images"]], false, value => { app.images = value; app.redraw(); });
  if (app.plain) $("shapes").hidden = true;
  choice("tools", [["move", "Move"], ["lasso", "Lasso"]], "move", value => { app.tool = value; document.body.dataset.tool = value; });
  $("colours").replaceChildren(...colourModes().map(([value, title]) => element("option", { value }, title)));
  $("colours").onchange = () => { app.colour = $("colours").value; app.recolour(); };
  $("reset").onclick = () => { for (const pane of app.panes) pane.camera.reset(app.dims); app.redraw(); };
  $("clear").onclick = () => app.clear();
}

function setUpSearch() {
  const search = () => {
    const result = found($("search").value, app.panes[0].method);
    $("search-note").textContent = typeof result === "string" ? result : result.points.length ? "" : `${result.title}: no image`;
    if (typeof result !== "string") {
      if (result.points.length === 1 && result.title.startsWith("Image ")) app.select(result.points[0]);
      else app.choose(result.points, result.title);
    }
  };
  $("search-form").onsubmit = event => { event.preventDefault(); $("search").value.trim() ? search() : app.clear(); };
  const method = app.panes[0].method;
  if (!labels || !method.predicted) return;
  $("pairs").replaceChildren(...errorPairs(method).slice(0, 6).map(([from, to, num]) => {
    const chip = element("button", { className: "chip", title: `${className(from)} taken for ${className(to)}, ${num} times` }, `${className(from)} → ${className(to)}`, element("span", { className: "soft" }, num));
    chip.onclick = () => { $("search").value = `${className(from)} → ${className(to)}`; search(); };
    return chip;
  }));
}

function setUpMethods() {
  const options = () => app.methods.map(({ name }, i) => element("option", { value: i }, name));
  $("methods").hidden = app.methods.length === 1;
  $("first").replaceChildren(...options());
  $("second").replaceChildren(...options());
  $("second").value = Math.min(1, app.methods.length - 1);
  $("both").checked = app.methods.length > 1 && matchMedia("(min-width: 60.01rem)").matches;
  const update = () => {
    const both = $("both").checked, wanted = [app.methods[$("first").value], ...(both ? [app.methods[$("second").value]] : [])];
    while (app.panes.length > wanted.length) app.panes.pop().element.remove();
    wanted.forEach((method, i) => {
      if (!app.panes[i]) {
        app.panes.push(new Pane(app, method));
        $("panes").append(app.panes[i].element);
      } else if (app.panes[i].method !== method) app.panes[i].setMethod(method);
    });
    $("panes").dataset.num = wanted.length;
    app.recolour();
    setUpSearch();
    app.showDetails();
    note();
  };
  for (const id of ["first", "second", "both"]) $(id).onchange = update;
  update();
}

// Run the encoders on what is drawn or dropped, one frame after the other: while they compute, only the last wish is kept.
class Runner {
  constructor(pixels) {
    this.pixels = pixels; // () -> (C, H, W), or null where there is nothing
    this.encoders = new Map();
    this.load();
  }

  async load() {
    $("draw-state").textContent = "Loading the encoder …";
    try {
      for (const method of app.methods) if (method.about.runs) this.encoders.set(method, await Encoder.read(method));
    } catch (error) {
      $("draw-state").textContent = `This browser cannot run the encoder: ${error.message}`;
      return;
    }
    $("draw-state").textContent = "";
    this.run();
  }

  run() {
    this.wanted = true;
    if (!this.frame) this.frame = requestAnimationFrame(() => this.step());
  }

  async step() {
    this.wanted = false;
    const pixels = this.pixels();
    if (!pixels) {
      app.drawn = null;
      $("results").replaceChildren();
    } else if (this.encoders.size) {
      const drawn = new Map();
      for (const [method, encoder] of this.encoders) {
        const made = await encoder.run(pixels);
        drawn.set(method, { ...made, nearest: method.nearest(made.embedding, NUM_NEAREST) });
      }
      app.drawn = drawn;
      $("results").replaceChildren(...[...drawn].map(([method, made]) => resultCard(method, made, app)));
      clearTimeout(this.pause); // a screen reader hears the answer when the pen rests
      this.pause = setTimeout(() => { $("said").textContent = $("results").querySelector(".result-head")?.textContent ?? ""; }, 700);
    }
    app.redraw();
    this.frame = this.wanted ? requestAnimationFrame(() => this.step()) : 0;
  }
}

function setUpDrawing() {
  if (!meta.methods.some(each => each.runs)) {
    $("draw").remove();
    return;
  }
  if (meta.drawn) {
    const drawing = new Drawing($("canvas"), $("preview"), () => {
      $("draw").classList.toggle("empty", drawing.isEmpty);
      if (drawing.isEmpty) $("preview").getContext("2d").clearRect(0, 0, meta.width, meta.height);
      runner.run();
    });
    app.drawnName = "your drawing";
    $("erase").onclick = () => drawing.clear();
    $("undo").onclick = () => drawing.undo();
    const runner = app.runner = new Runner(() => drawing.isEmpty ? null : drawing.pixels());
    app.drawing = drawing;
    return;
  }
  let pixels = null;
  app.drawnName = "your image";
  const runner = app.runner = new Runner(() => pixels);
  const take = async file => {
    if (!file) return;
    try {
      pixels = await pixelsOf(file);
    } catch {
      $("draw-state").textContent = `${file.name} is not an image that this browser can read`;
      return;
    }
    $("draw-state").textContent = "";
    Object.assign($("preview"), { width: meta.width, height: meta.height });
    show($("preview"), pixels);
    runner.run();
  };
  $("file").onchange = () => take($("file").files[0]);
  $("drop").ondragover = event => event.preventDefault();
  $("drop").ondrop = event => { event.preventDefault(); take(event.dataTransfer.files[0]); };
}

async function start() {
  app.picture = await readShared();
  document.documentElement.style.setProperty("--sheet", `url(${sheetAddress})`);
  app.methods = await Promise.all(meta.methods.map((_, i) => Method.read(i)));
  if (!labels) app.colour = colourModes()[0][0];
  if (!meta.layouts.some(({ name }) => name === app.layout)) app.layout = meta.layouts[0].name;
  setUpMethods();
  setUpTools();
  setUpDrawing();
  matchMedia("(prefers-color-scheme: dark)").onchange = () => { app.paper = null; app.recolour(); };
  document.body.dataset.ready = "true";
}

window.explorer = app; // for the browser's console, and for tests
start().catch(error => {
  $("fallback").hidden = false;
  $("fallback").textContent = `This page could not start: ${error.message}`;
  throw error;
});
