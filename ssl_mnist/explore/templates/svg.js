// The points as SVG, for browsers without WebGL: the first 2,000, as dots.

const MAX_CIRCLES = 2000;

class SvgScatter {
  constructor() {
    const make = name => document.createElementNS("http://www.w3.org/2000/svg", name);
    this.element = make("svg");
    this.shown = Array.from({ length: Math.min(N, MAX_CIRCLES) }, (_, i) => Math.floor(i * N / Math.min(N, MAX_CIRCLES)));
    this.circles = new Map(this.shown.map(i => [i, make("circle")]));
    this.element.append(...this.circles.values());
  }

  setPlaces(from, to) {
    Object.assign(this, { from, to });
  }

  setColours(colours, order) {
    for (const i of order) {
      const circle = this.circles.get(i);
      if (!circle) continue;
      circle.setAttribute("fill", cssOf(colours.subarray(4 * i, 4 * i + 3)));
      circle.setAttribute("fill-opacity", colours[4 * i + 3] / 255);
      this.element.append(circle); // above those before it
    }
  }

  draw(camera, { moved, size }) {
    this.element.setAttribute("viewBox", `0 0 ${camera.width} ${camera.height}`);
    for (const [i, circle] of this.circles) {
      const place = [0, 1, 2].map(k => this.from[3 * i + k] * (1 - moved) + this.to[3 * i + k] * moved);
      const found = camera.project(...place);
      circle.setAttribute("r", found ? (size / 2 * Math.min(2.5, camera.distance / found[2])).toFixed(2) : 0);
      if (found) {
        circle.setAttribute("cx", found[0].toFixed(1));
        circle.setAttribute("cy", found[1].toFixed(1));
      }
    }
  }
}
