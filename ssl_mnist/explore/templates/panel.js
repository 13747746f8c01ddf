// What is said beside the scatter: of one image and its neighbours, of a selection, and what is found by searching.

const MAX_SHOWN = 60; // images of a selection

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== "style") made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// Image i at a width in pixels, as a part of the sheet.
function thumbnail(i, width) {
  const { columns, width: tile, height: tall } = meta.sheet, scale = width / tile, made = element("span", { className: "thumb" });
  made.style.cssText = `width:${width}px;height:${tall * scale}px;background-size:${columns * width}px auto;` +
    `background-position:${-(i % columns) * width}px ${-Math.floor(i / columns) * tall * scale}px`;
  return made;
}

// "7", or "7 taken for 1", with the probe's confidence.
function caption(i, method) {
  const words = labels ? className(labels[i]) : `image ${meta.positions[i]}`;
  if (!method.predicted) return element("span", { className: "caption" }, words);
  const wrong = method.isWrong(i), sure = percent(method.confidenceOf(i));
  const said = wrong ? ` taken for ${className(method.predicted[i])}, ${sure}` : `, ${sure}`;
  return element("span", { className: wrong ? "caption wrong" : "caption" }, words + said);
}

// Neighbours as buttons; red where their class is not the one that is expected.
function row(points, size, app, expected = null) {
  return element("div", { className: "row" }, ...points.map(i => {
    const other = labels && expected !== null && labels[i] !== expected;
    const title = labels ? className(labels[i]) : `image ${meta.positions[i]}`;
    const button = element("button", { className: other ? "tile other" : "tile", title, ariaLabel: `neighbour: ${title}` }, thumbnail(i, size));
    if (labels) button.append(element("span", { className: "tile-class" }, title));
    button.onclick = () => app.select(i);
    button.onpointerenter = () => app.hover(i);
    button.onpointerleave = () => app.hover(null);
    return button;
  }));
}

// One image: what it is, what each method says of it, and what each finds near it.
function pointCard(i, app) {
  const head = element("div", { className: "point-head" }, thumbnail(i, 84), element("div", {},
    element("h2", {}, labels ? className(labels[i]) : "Image"), element("p", { className: "soft" }, `${meta.split} image ${meta.positions[i].toLocaleString("en")}`)));
  const parts = app.methodsShown().flatMap(method => {
    const said = method.predicted
      ? [element("p", { className: method.isWrong(i) ? "verdict wrong" : "verdict" },
        meta.methods.length > 1 ? element("strong", {}, `${method.name}: `) : "",
        `${className(method.predicted[i])}, ${percent(method.confidenceOf(i), 1)}`, labels ? (method.isWrong(i) ? ", wrong" : ", right") : "")]
      : meta.methods.length > 1 ? [element("p", { className: "verdict" }, element("strong", {}, method.name))] : [];
    return [...said, row(method.neighboursOf(i), 40, app, labels ? labels[i] : null)];
  });
  return [head, ...parts, element("p", { className: "soft small" }, "Nearest neighbours by cosine of the embeddings, the nearest first.")];
}

// Several images: how many of each class, and the first of them.
function selectionCard({ title, points }, app) {
  const parts = [element("h2", {}, `${title}: ${counted(points.length, "image")}`)];
  if (labels && points.length) {
    const counts = meta.classes.map((_, k) => points.filter(i => labels[i] === k).length), most = Math.max(...counts);
    parts.push(element("div", { className: "counts" }, ...counts.map((num, k) => [num, k]).filter(([num]) => num).sort((a, b) => b[0] - a[0]).slice(0, 12)
      .flatMap(([num, k]) => {
        const bar = element("span", { className: "bar" });
        bar.style.cssText = `width:${100 * num / most}%;background:${cssOf(classColour(k))}`;
        return [element("span", { className: "count-class" }, className(k)), element("span", { className: "track" }, bar), element("span", {}, num.toLocaleString("en"))];
      })));
  }
  for (const method of app.methodsShown()) {
    if (!labels || !method.predicted || !points.length) continue;
    const wrong = points.filter(i => method.isWrong(i)).length;
    parts.push(element("p", { className: "small" }, `${meta.methods.length > 1 ? `${method.name}: ` : ""}${wrong} of them wrong (${percent(wrong / points.length, 1)})`));
  }
  parts.push(row(points.slice(0, MAX_SHOWN), 34, app));
  if (points.length > MAX_SHOWN) parts.push(element("p", { className: "soft small" }, `the first ${MAX_SHOWN} of them`));
  return parts;
}

// The most frequent errors of a method, as [true class, predicted class, count].
function errorPairs(method) {
  const counts = new Map();
  for (let i = 0; i < N; i++) {
    if (!method.isWrong(i)) continue;
    const key = labels[i] * meta.classes.length + method.predicted[i];
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([key, num]) => [Math.floor(key / meta.classes.length), key % meta.classes.length, num]);
}

// What a search means: { title, points }, or a text that says what can be searched for.
function found(words, method) {
  const text = words.trim().toLowerCase(), all = Array.from({ length: N }, (_, i) => i);
  const classOf = name => meta.classes ? meta.classes.findIndex(each => each.toLowerCase() === name.trim()) : -1;
  const image = text.match(/^#\s*(\d+)$/);
  if (image) {
    const at = meta.positions.indexOf(Number(image[1]));
    return at >= 0 ? { title: `Image ${image[1]}`, points: [at] } : `image ${image[1]} is not on this page`;
  }
  if (!labels) return "the images have no labels; search for the number of an image, such as #12";
  const can = `search for a class (${meta.classes.slice(0, 3).join(", ")}, …), an error (${className(0)} → ${className(1)}), wrong, or an image (#12)`;
  if (classOf(text) >= 0) return { title: `Class ${className(classOf(text))}`, points: all.filter(i => labels[i] === classOf(text)) };
  if (!method.predicted) return `there is no probe here; search for a class or an image (#12)`;
  if (["wrong", "errors", "error"].includes(text)) return { title: `Wrong by ${method.name}`, points: all.filter(i => method.isWrong(i)) };
  const pair = text.split(/\s*(?:→|->|=>|>)\s*/);
  if (pair.length === 2) {
    const [from, to] = pair.map(classOf);
    if (from >= 0 && to >= 0) {
      return { title: `${className(from)} taken for ${className(to)} by ${method.name}`, points: all.filter(i => labels[i] === from && method.predicted[i] === to) };
    }
  }
  return can;
}

// What a method says of the drawing: class, confidence, all probabilities, neighbours.
function resultCard(method, { probabilities, nearest }, app) {
  const parts = [];
  const several = meta.methods.length > 1;
  if (probabilities) {
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
    const best = order[0], shown = (order.length > 12 ? order.slice(0, 10) : order).sort((a, b) => a - b);
    parts.push(element("div", { className: "result-head" },
      element("strong", { className: "answer" }, className(best)),
      element("span", { className: "sure" }, percent(probabilities[best], 1), several ? element("span", { className: "soft" }, ` ${method.name}`) : "")));
    parts.push(element("div", { className: "bars", role: "img", ariaLabel: shown.map(k => `${className(k)}: ${percent(probabilities[k])}`).join(", ") },
      ...shown.map(k => {
        const bar = element("span", { className: "column-bar" });
        bar.style.cssText = `height:${Math.max(2, 100 * probabilities[k])}%;background:${cssOf(classColour(k))}`;
        return element("span", { className: k === best ? "column best" : "column", title: `${className(k)}: ${percent(probabilities[k], 1)}` },
          element("span", { className: "column-room" }, bar), className(k).slice(0, 6));
      })));
  } else if (several) parts.push(element("strong", {}, method.name));
  parts.push(row(nearest.slice(0, 7).map(({ point }) => point), 36, app));
  return element("div", { className: "result" }, ...parts);
}
