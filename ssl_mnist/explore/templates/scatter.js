// The points by WebGL 2: dots, or the images themselves in the points' colours. They move from one layout to the next.

const VERTEX = `#version 300 es
in vec3 from; in vec3 to; in vec4 colour;
uniform mat4 matrix; uniform float moved, size, largest, reach, fog;
uniform int columns;
out vec4 tint; out float far, pixels; flat out vec2 tile;
void main() {
  gl_Position = matrix * vec4(mix(from, to, moved), 1.0);
  float nearness = clamp(reach / gl_Position.w, 0.45, 2.5);
  pixels = min(largest, size * nearness * (colour.a < 0.5 ? 0.8 : 1.0));
  gl_PointSize = pixels;
  tint = colour;
  far = fog * clamp((gl_Position.w - reach) / 1.6 + 0.25, 0.0, 0.75);
  tile = vec2(gl_VertexID % columns, gl_VertexID / columns);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 tint; in float far, pixels; flat in vec2 tile;
uniform sampler2D sheet; uniform vec2 tiles; uniform vec3 background; uniform bool images, grey;
out vec4 result;
void main() {
  vec3 ink = tint.rgb; float cover;
  if (images) {
    vec4 pixel = textureLod(sheet, (tile + clamp(gl_PointCoord, 0.01, 0.99)) / tiles, 0.0);
    vec2 edge = min(gl_PointCoord, 1.0 - gl_PointCoord) * pixels;
    cover = grey ? smoothstep(0.08, 0.6, pixel.r) : 1.0;
    if (!grey && min(edge.x, edge.y) > 1.5) ink = pixel.rgb;
  } else {
    float radius = 2.0 * length(gl_PointCoord - 0.5);
    cover = 1.0 - smoothstep(1.0 - 2.5 / pixels, 1.0, radius);
    ink *= 1.04 - 0.22 * radius * radius; // a slight edge tells neighbours apart
  }
  if (cover < 0.02) discard;
  ink = mix(ink, background, far);
  float alpha = cover * tint.a;
  result = vec4(ink * alpha, alpha);
}`;

class Scatter {
  // Raises where the browser has no WebGL 2.
  constructor(picture) {
    this.element = document.createElement("canvas");
    const gl = this.gl = this.element.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: true });
    if (!gl) throw new Error("no WebGL 2");
    this.program = this.compiled();
    this.at = name => gl.getUniformLocation(this.program, name);
    gl.useProgram(this.program);
    this.buffers = {};
    for (const [name, width, type] of [["from", 3, gl.FLOAT], ["to", 3, gl.FLOAT], ["colour", 4, gl.UNSIGNED_BYTE]]) {
      const at = gl.getAttribLocation(this.program, name);
      this.buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, width, type, type === gl.UNSIGNED_BYTE, 0, 0);
    }
    this.order = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.order);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.largest = gl.getParameter(gl.ALIASED_POINT_SIZE_RANGE)[1];
    this.readTexture(picture);
    this.shown = Array.from({ length: N }, (_, i) => i);
  }

  compiled() {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "WebGL cannot compile");
    return program;
  }

  // The sheet of images, made smaller where the graphics hardware takes none of its size.
  readTexture(picture) {
    const gl = this.gl, limit = gl.getParameter(gl.MAX_TEXTURE_SIZE), scale = Math.min(1, limit / Math.max(picture.width, picture.height));
    let source = picture;
    if (scale < 1) {
      source = Object.assign(document.createElement("canvas"), { width: picture.width * scale, height: picture.height * scale });
      source.getContext("2d").drawImage(picture, 0, 0, source.width, source.height);
    }
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source);
    for (const name of ["MIN", "MAG"]) gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}_FILTER`], gl.LINEAR);
    for (const name of ["S", "T"]) gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_WRAP_${name}`], gl.CLAMP_TO_EDGE);
    const { columns, width, height } = meta.sheet;
    this.tiles = [picture.width / width, picture.height / height];
    gl.uniform1i(this.at("columns"), columns);
  }

  fill(buffer, content, target = this.gl.ARRAY_BUFFER) {
    this.gl.bindBuffer(target, buffer);
    this.gl.bufferData(target, content, this.gl.DYNAMIC_DRAW);
  }

  setPlaces(from, to) {
    this.to = to;
    this.fill(this.buffers.from, from);
    this.fill(this.buffers.to, to);
  }

  // colours: (N, 4) bytes; order: (N,) the points from the lowest to the uppermost.
  setColours(colours, order) {
    this.colours = colours;
    this.fill(this.buffers.colour, colours);
    this.fill(this.order, Uint32Array.from(order), this.gl.ELEMENT_ARRAY_BUFFER);
  }

  // From the furthest to the nearest, the faint ones before all others: so edges are smooth, as a depth test leaves none.
  sortByDepth(camera) {
    const [x, y, z] = camera.towards(), keys = new Float32Array(N);
    for (let i = 0; i < N; i++) {
      keys[i] = x * this.to[3 * i] + y * this.to[3 * i + 1] + z * this.to[3 * i + 2] - (this.colours[4 * i + 3] < 128 ? 100 : 0);
    }
    const order = Uint32Array.from({ length: N }, (_, i) => i).sort((a, b) => keys[a] - keys[b]);
    this.fill(this.order, order, this.gl.ELEMENT_ARRAY_BUFFER);
  }

  // moved: from 0 to 1, how far from the last layout to this one; size: of a dot in CSS pixels.
  draw(camera, { moved, size, images, background }) {
    const gl = this.gl, density = devicePixelRatio || 1;
    const [width, height] = [camera.width, camera.height].map(side => Math.round(side * density));
    if (this.element.width !== width || this.element.height !== height) Object.assign(this.element, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (camera.dims === 3) this.sortByDepth(camera);
    gl.uniformMatrix4fv(this.at("matrix"), false, camera.matrix());
    const numbers = { moved, size: size * density, largest: this.largest, reach: camera.distance, fog: camera.dims === 3 ? 1 : 0 };
    for (const [name, value] of Object.entries(numbers)) gl.uniform1f(this.at(name), value);
    for (const [name, value] of Object.entries({ images, grey: meta.channels !== 3 })) gl.uniform1i(this.at(name), value ? 1 : 0);
    gl.uniform2f(this.at("tiles"), ...this.tiles);
    gl.uniform3f(this.at("background"), ...background.map(value => value / 255));
    gl.drawElements(gl.POINTS, N, gl.UNSIGNED_INT, 0);
  }
}
