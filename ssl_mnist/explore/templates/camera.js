// A perspective camera: in two dimensions it looks straight at the plane z = 0, in three it turns around its target.

const FOCAL = 2.4;

class Camera {
  constructor() {
    this.width = this.height = 1;
    this.reset(2, [1, 1]);
  }

  // Look at all points. extent: half of their width and height.
  reset(dims, extent = this.extent) {
    Object.assign(this, { dims, extent, target: [0, 0, 0], yaw: dims === 3 ? 0.6 : 0, pitch: dims === 3 ? 0.35 : 0, touched: false });
    this.distance = this.home;
  }

  // The distance from which all points are in the picture.
  get home() {
    const { width, height } = this, small = Math.min(width, height), [x, y] = this.extent;
    return FOCAL * small / 2 * Math.max(x / (0.46 * width), y / (0.45 * height));
  }

  resize(width, height) {
    Object.assign(this, { width: Math.max(1, width), height: Math.max(1, height) });
    if (!this.touched) this.distance = this.home;
  }

  get zoom() {
    return this.home / this.distance;
  }

  // Pixels a unit at the target.
  get scale() {
    return FOCAL * Math.min(this.width, this.height) / 2 / this.distance;
  }

  turned(x, y, z) {
    const [a, b] = [Math.cos(this.yaw), Math.sin(this.yaw)], [c, d] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    x -= this.target[0]; y -= this.target[1]; z -= this.target[2];
    const depth = a * z - b * x;
    return [a * x + b * z, c * y - d * depth, d * y + c * depth];
  }

  // The direction from the target to the camera.
  towards() {
    const [a, b] = [Math.cos(this.yaw), Math.sin(this.yaw)], [c, d] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    return [-b * c, d, a * c];
  }

  // Pixels from the left and the top, and the distance from the camera; null behind it.
  project(x, y, z) {
    const [right, up, front] = this.turned(x, y, z);
    const away = this.distance - front;
    if (away <= this.near) return null;
    const scale = FOCAL * Math.min(this.width, this.height) / 2 / away;
    return [this.width / 2 + right * scale, this.height / 2 - up * scale, away];
  }

  get near() {
    return Math.min(0.05, this.distance / 10);
  }

  // The same as a matrix for WebGL, column by column.
  matrix() {
    const small = Math.min(this.width, this.height), sx = FOCAL * small / this.width, sy = FOCAL * small / this.height;
    const far = 20, near = this.near, A = (far + near) / (far - near), B = -2 * far * near / (far - near);
    const columns = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]].map(([x, y, z], i) => {
      const [t0, t1, t2] = i < 3 ? this.target : [0, 0, 0];
      const [right, up, front] = this.turned(x + t0, y + t1, z + t2);
      if (i < 3) return [sx * right, sy * up, -A * front, -front];
      return [sx * right, sy * up, A * (this.distance - front) + B, this.distance - front];
    });
    return new Float32Array(columns.flat());
  }

  // Move by pixels in the picture's plane.
  pan(dx, dy) {
    this.touched = true;
    const [a, b] = [Math.cos(this.yaw), Math.sin(this.yaw)], [c, d] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    const right = -dx / this.scale, up = dy / this.scale;
    this.target[0] += a * right + b * d * up;
    this.target[1] += c * up;
    this.target[2] += b * right - a * d * up;
  }

  orbit(dx, dy) {
    this.touched = true;
    this.yaw += dx * 0.008;
    this.pitch = Math.max(-1.5, Math.min(1.5, this.pitch + dy * 0.008));
  }

  // Come nearer by a factor; what is at (x, y) pixels stays there in two dimensions.
  approach(factor, x = this.width / 2, y = this.height / 2) {
    const distance = Math.max(this.home / 80, Math.min(this.home * 2.5, this.distance / factor));
    this.touched = true;
    const moved = 1 - distance / this.distance;
    if (this.dims === 2) this.pan((this.width / 2 - x) * moved, (this.height / 2 - y) * moved);
    this.distance = distance;
  }
}
