// What lies above the points: rings around some of them, lines to neighbours, the drawn digit's place, the lasso.

class Overlay {
  constructor() {
    this.element = document.createElement("canvas");
    this.element.className = "overlay";
  }

  // Clear, and take the camera's size.
  begin(camera) {
    const density = devicePixelRatio || 1, [width, height] = [camera.width, camera.height].map(side => Math.round(side * density));
    if (this.element.width !== width || this.element.height !== height) Object.assign(this.element, { width, height });
    const style = getComputedStyle(document.documentElement);
    this.ink = style.getPropertyValue("--ink").trim();
    this.paper = style.getPropertyValue("--paper").trim();
    this.pen = this.element.getContext("2d");
    this.pen.setTransform(density, 0, 0, density, 0, 0);
    this.pen.clearRect(0, 0, camera.width, camera.height);
  }

  // Every line is drawn twice, so that it can be seen on any colour.
  stroke(path, colour, width) {
    for (const [style, wide] of [[this.paper, width + 2], [colour, width]]) {
      this.pen.strokeStyle = style;
      this.pen.lineWidth = wide;
      this.pen.stroke(path);
    }
  }

  ring([x, y], radius, colour = this.ink, width = 2) {
    const path = new Path2D();
    path.arc(x, y, radius, 0, 2 * Math.PI);
    this.stroke(path, colour, width);
  }

  line([x, y], [toX, toY]) {
    const path = new Path2D();
    path.moveTo(x, y);
    path.lineTo(toX, toY);
    this.pen.globalAlpha = 0.55;
    this.stroke(path, this.ink, 1);
    this.pen.globalAlpha = 1;
  }

  star([x, y], label) {
    const path = new Path2D(), radius = 11;
    for (let i = 0; i < 10; i++) {
      const angle = Math.PI * (i / 5 - 0.5), r = i % 2 ? radius * 0.45 : radius;
      path[i ? "lineTo" : "moveTo"](x + r * Math.cos(angle), y + r * Math.sin(angle));
    }
    path.closePath();
    this.stroke(path, this.paper, 2);
    this.pen.fillStyle = this.ink;
    this.pen.fill(path);
    this.label([x, y], label);
  }

  label([x, y], text) {
    this.pen.font = "600 13px system-ui, sans-serif";
    this.pen.lineJoin = "round";
    this.pen.strokeStyle = this.paper;
    this.pen.lineWidth = 4;
    this.pen.strokeText(text, x + 15, y + 4);
    this.pen.fillStyle = this.ink;
    this.pen.fillText(text, x + 15, y + 4);
  }

  lasso(corners) {
    const path = new Path2D();
    corners.forEach(([x, y], i) => path[i ? "lineTo" : "moveTo"](x, y));
    path.closePath();
    this.pen.fillStyle = this.ink;
    this.pen.globalAlpha = 0.12;
    this.pen.fill(path);
    this.pen.globalAlpha = 1;
    this.pen.setLineDash([5, 4]);
    this.pen.strokeStyle = this.ink;
    this.pen.lineWidth = 1.5;
    this.pen.stroke(path);
    this.pen.setLineDash([]);
  }

  cross({ width, height }) {
    const path = new Path2D();
    path.moveTo(width / 2 - 8, height / 2); path.lineTo(width / 2 + 8, height / 2);
    path.moveTo(width / 2, height / 2 - 8); path.lineTo(width / 2, height / 2 + 8);
    this.stroke(path, this.ink, 1.5);
  }
}
