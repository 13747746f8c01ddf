// What a point's colour means.

const CLASS_COLOURS = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#5fb8f5", "#9c6b4e", "#9498a0"];
const CONFIDENCE = ["#e4572e", "#f3b61f", "#4c8dd6"]; // from the least to the most confident

const rgb = hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
const cssOf = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

function classColour(k) {
  if (meta.classes.length <= CLASS_COLOURS.length) return rgb(CLASS_COLOURS[k]);
  const hue = k * 137.508 % 360, light = k % 2 ? 0.62 : 0.5; // the golden angle: classes that follow each other differ
  const channel = n => {
    const at = (n + hue / 30) % 12;
    return Math.round(255 * (light - 0.65 * Math.min(light, 1 - light) * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

function between(colours, share) {
  const at = Math.max(0, Math.min(colours.length - 1.0001, share * (colours.length - 1))), i = Math.floor(at);
  const [from, to] = [rgb(colours[i]), rgb(colours[i + 1])];
  return from.map((value, k) => Math.round(value + (to[k] - value) * (at - i)));
}

const quiet = () => matchMedia("(prefers-color-scheme: dark)").matches ? [96, 104, 118] : [176, 182, 192];

// The modes that the data allow, as [value, title].
function colourModes() {
  const modes = labels ? [["class", "class"]] : [["none", "none"]];
  if (labels && meta.probed) modes.push(["error", "right or wrong"]);
  if (meta.probed) modes.push(["predicted", "predicted class"], ["confidence", "confidence"]);
  if (labels && meta.probed && meta.methods.length > 1) modes.push(["methods", "which method is right"]);
  return modes;
}

// { groups: [{ title, colour, has(i) }], colourOf(i), rankOf(i) }; points of a higher rank lie above others. other: the second method.
function colouring(mode, method, other) {
  if (mode === "class" || mode === "predicted") {
    const of = mode === "class" ? labels : method.predicted;
    const colours = meta.classes.map((_, k) => classColour(k));
    const groups = meta.classes.map((title, k) => ({ title, colour: colours[k], has: i => of[i] === k }));
    return { groups, colourOf: i => colours[of[i]], rankOf: () => 0 };
  }
  if (mode === "error") {
    const wrong = rgb("#e5383b"), right = quiet();
    const groups = [
      { title: "wrong", colour: wrong, has: i => method.isWrong(i) },
      { title: "right", colour: right, has: i => !method.isWrong(i) },
    ];
    return { groups, colourOf: i => method.isWrong(i) ? wrong : right, rankOf: i => method.isWrong(i) ? 1 : 0 };
  }
  if (mode === "confidence") {
    const share = i => (method.confidenceOf(i) - 0.4) / 0.6;
    const steps = [[0, 0.5], [0.5, 0.7], [0.7, 0.9], [0.9, 0.99], [0.99, 1.01]];
    const titles = ["below 50 %", "50 to 70 %", "70 to 90 %", "90 to 99 %", "99 % and more"];
    const groups = steps.map(([low, high], k) => ({
      title: titles[k],
      colour: between(CONFIDENCE, ((low + Math.min(1, high)) / 2 - 0.4) / 0.6),
      has: i => method.confidenceOf(i) >= low && method.confidenceOf(i) < high,
    }));
    return { groups, colourOf: i => between(CONFIDENCE, share(i)), rankOf: i => 1 - method.confidenceOf(i) };
  }
  if (mode === "methods") {
    const colours = [quiet(), rgb("#4269d0"), rgb("#efb118"), rgb("#e5383b")];
    const titles = ["both right", `only ${method.name} right`, `only ${other.name} right`, "both wrong"];
    const group = i => method.isWrong(i) ? (other.isWrong(i) ? 3 : 2) : (other.isWrong(i) ? 1 : 0);
    return {
      groups: titles.map((title, k) => ({ title, colour: colours[k], has: i => group(i) === k })),
      colourOf: i => colours[group(i)],
      rankOf: group,
    };
  }
  const colour = rgb("#4c8dd6");
  return { groups: [], colourOf: () => colour, rankOf: () => 0 };
}
