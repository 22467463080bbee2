'use strict';
// The points and lines of a scene on the GPU.

const POINT_BYTES = 12;
const BACKGROUND = [0.075, 0.086, 0.106];
const COLOURS = {
  training: [0.45, 0.48, 0.53],
  truth: [0.95, 0.95, 0.95],
  estimate: [0.3, 0.65, 1.0],
  error: [1.0, 0.35, 0.32],
};

const POINT_SHADER = `
  attribute vec3 position;
  attribute float weight;
  attribute vec3 colour;
  uniform mat4 clip_from_world;
  uniform vec3 low, high;
  uniform float least_weight, bright_weight, size, distance;
  uniform bool show_weight;
  varying vec3 shown;
  vec3 heat(float w) {
    return clamp(vec3(1.9 * w, 2.2 * w - 0.9, 0.5 * sin(6.0 * w)) + 0.12, 0.0, 1.0);
  }
  void main() {
    gl_Position = clip_from_world * vec4(mix(low, high, position), 1.0);
    gl_PointSize = size * clamp(distance / gl_Position.w, 0.4, 4.0);
    // The border itself is shown, whatever the rounding on the way here.
    if (weight < least_weight - 0.000004) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    shown = show_weight ? heat(min(1.0, sqrt(weight / bright_weight))) : colour;
  }`;
const POINT_PAINT = `
  precision mediump float;
  varying vec3 shown;
  void main() {
    vec2 across = gl_PointCoord - 0.5;
    if (dot(across, across) > 0.25) discard;
    gl_FragColor = vec4(shown, 1.0);
  }`;
const LINE_SHADER = `
  attribute vec3 position;
  uniform mat4 clip_from_world;
  void main() { gl_Position = clip_from_world * vec4(position, 1.0); }`;
const LINE_PAINT = `
  precision mediump float;
  uniform vec3 colour;
  void main() { gl_FragColor = vec4(colour, 1.0); }`;

function program(gl, vertexSource, fragmentSource) {
  const made = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource],
  ]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(gl.getProgramInfoLog(made));
  }
  return made;
}

function buffer(gl, content) {
  const made = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, made);
  gl.bufferData(gl.ARRAY_BUFFER, content, gl.STATIC_DRAW);
  return made;
}

// Segments, two points each, along the stretches of a trajectory.
function segmentsAlong(stretches) {
  const ends = [];
  for (const line of stretches) {
    for (let i = 0; i + 5 < line.length; i += 3) ends.push(...line.slice(i, i + 6));
  }
  return ends;
}

// A small pyramid from the camera's centre to the corners of its picture.
function pyramid(pose, size) {
  const at = (x, y, z) => [0, 4, 8].map(
    (r) => pose[r] * x + pose[r + 1] * y + pose[r + 2] * z + pose[r + 3]);
  const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(
    ([x, y]) => at(0.6 * size * x, 0.45 * size * y, size));
  return corners.flatMap(
    (corner, i) => [...at(0, 0, 0), ...corner, ...corner, ...corners[(i + 1) % 4]]);
}

function lineSets(scene) {
  const size = 0.035 * scene.radius;
  const found = scene.frames.filter((frame) => frame.estimate);
  const centre = (pose) => [pose[3], pose[7], pose[11]];
  return [
    { group: 'paths', colour: COLOURS.training, ends: segmentsAlong(scene.training) },
    { group: 'paths', colour: COLOURS.truth, ends: segmentsAlong(scene.truth) },
    { group: 'cameras', colour: COLOURS.estimate,
      ends: found.flatMap((frame) => pyramid(frame.estimate, size)) },
    { group: 'cameras', colour: COLOURS.error,
      ends: found.flatMap((frame) => [...centre(frame.truth), ...centre(frame.estimate)]) },
  ];
}

class Drawing {
  // Throws where there is no WebGL.
  constructor(canvas, scene, points) {
    this.canvas = canvas;
    this.scene = scene;
    this.points = points;
    this.gl = canvas.getContext('webgl', { antialias: true });
    if (!this.gl) throw new Error('there is no WebGL');
    this.upload();
  }

  // Also after the context was lost and given back.
  upload() {
    const { gl } = this;
    this.pointProgram = program(gl, POINT_SHADER, POINT_PAINT);
    this.lineProgram = program(gl, LINE_SHADER, LINE_PAINT);
    this.pointBuffer = buffer(gl, this.points);
    this.lines = lineSets(this.scene).map((set) => ({
      ...set, count: set.ends.length / 3, buffer: buffer(gl, new Float32Array(set.ends)),
    }));
  }

  draw(orbit, look) {
    const { gl, canvas } = this;
    const matrix = orbit.matrix(canvas.width / canvas.height);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...BACKGROUND, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    this.drawPoints(matrix, orbit, look);
    this.drawLines(matrix, look);
    return matrix;
  }

  drawPoints(matrix, orbit, look) {
    const { gl, scene } = this;
    const set = (name) => gl.getUniformLocation(this.pointProgram, name);
    gl.useProgram(this.pointProgram);
    gl.uniformMatrix4fv(set('clip_from_world'), false, matrix);
    gl.uniform3fv(set('low'), scene.low);
    gl.uniform3fv(set('high'), scene.high);
    gl.uniform1f(set('least_weight'), look.leastWeight);
    gl.uniform1f(set('bright_weight'), look.brightWeight);
    gl.uniform1f(set('size'), look.size);
    // Points keep their size up to here, and grow when one comes closer.
    gl.uniform1f(set('distance'), Math.max(orbit.distance, 1.5 * scene.radius));
    gl.uniform1i(set('show_weight'), look.showWeight ? 1 : 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.pointBuffer);
    for (const [name, count, kind, offset] of [
      ['position', 3, gl.UNSIGNED_SHORT, 0],
      ['weight', 1, gl.UNSIGNED_SHORT, 6],
      ['colour', 3, gl.UNSIGNED_BYTE, 8],
    ]) {
      const place = gl.getAttribLocation(this.pointProgram, name);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, count, kind, true, POINT_BYTES, offset);
    }
    gl.drawArrays(gl.POINTS, 0, scene.count);
    for (let i = 0; i < 3; i += 1) gl.disableVertexAttribArray(i);
  }

  drawLines(matrix, look) {
    const { gl } = this;
    gl.useProgram(this.lineProgram);
    gl.uniformMatrix4fv(gl.getUniformLocation(this.lineProgram, 'clip_from_world'), false, matrix);
    const place = gl.getAttribLocation(this.lineProgram, 'position');
    gl.enableVertexAttribArray(place);
    for (const set of this.lines.filter((lines) => look[lines.group])) {
      gl.uniform3fv(gl.getUniformLocation(this.lineProgram, 'colour'), set.colour);
      gl.bindBuffer(gl.ARRAY_BUFFER, set.buffer);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
      gl.drawArrays(gl.LINES, 0, set.count);
    }
    gl.disableVertexAttribArray(place);
  }
}
