'use strict';
// Vectors of three numbers, and a camera that circles a target about the scene's vertical axis.

const add = (a, b, share = 1) => a.map((value, i) => value + share * b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
const scale = (a, factor) => a.map((value) => value * factor);
const norm = (a) => Math.hypot(...a);
const unit = (a) => scale(a, 1 / norm(a));

const FIELD_OF_VIEW = (50 * Math.PI) / 180;
const STEEPEST = (89 * Math.PI) / 180;

class Orbit {
  constructor(scene) {
    this.scene = scene;
    this.up = unit(scene.up);
    // Any direction across will do; the one least along the vertical axis is the most exact.
    const least = this.up.map(Math.abs).indexOf(Math.min(...this.up.map(Math.abs)));
    this.east = unit(cross(this.up, [0, 1, 2].map((i) => (i === least ? 1 : 0))));
    this.north = cross(this.up, this.east);
    this.reset();
  }

  // Behind the cameras, above them, looking where most of them look.
  reset() {
    const back = scale(this.scene.forward, -1);
    this.target = this.scene.centre.slice();
    this.distance = 2.6 * this.scene.radius;
    this.yaw = Math.atan2(dot(back, this.north), dot(back, this.east));
    this.pitch = 0.6;
  }

  fromAbove() {
    this.reset();
    this.pitch = STEEPEST;
  }

  // The place and direction of a camera, world_from_camera (3 x 4, row by row); without its roll.
  lookFrom(pose) {
    const forward = [pose[2], pose[6], pose[10]];
    this.distance = 0.7 * this.scene.radius;
    this.target = add([pose[3], pose[7], pose[11]], forward, this.distance);
    this.pitch = Math.asin(Math.max(-1, Math.min(1, -dot(forward, this.up))));
    this.yaw = Math.atan2(-dot(forward, this.north), -dot(forward, this.east));
  }

  axes() {
    const level = add(
      scale(this.east, Math.cos(this.yaw)), this.north, Math.sin(this.yaw));
    const back = add(scale(level, Math.cos(this.pitch)), this.up, Math.sin(this.pitch));
    const forward = scale(back, -1);
    const right = unit(cross(forward, this.up));
    return {
      eye: add(this.target, back, this.distance), forward, right, top: cross(right, forward),
    };
  }

  turn(x, y) {
    this.yaw -= x;
    this.pitch = Math.max(-STEEPEST, Math.min(STEEPEST, this.pitch + y));
  }

  // Moves the scene with the pointer: shares of the picture's height.
  pan(x, y) {
    const { right, top } = this.axes();
    const height = 2 * this.distance * Math.tan(FIELD_OF_VIEW / 2);
    this.target = add(add(this.target, right, -x * height), top, y * height);
  }

  zoom(factor) {
    const { radius } = this.scene;
    this.distance = Math.max(0.02 * radius, Math.min(30 * radius, this.distance * factor));
  }

  // Clip space from world, column by column.
  matrix(aspect) {
    const { eye, forward, right, top } = this.axes();
    // The field of view is that of the shorter side, so that narrow screens see as much.
    const focal = Math.min(1, aspect) / Math.tan(FIELD_OF_VIEW / 2);
    const near = 0.02 * this.distance;
    const far = this.distance + 100 * this.scene.radius;
    const slope = (far + near) / (far - near);
    const rows = [
      [...scale(right, focal / aspect), (-focal / aspect) * dot(right, eye)],
      [...scale(top, focal), -focal * dot(top, eye)],
      [...scale(forward, slope), -slope * dot(forward, eye) - (2 * far * near) / (far - near)],
      [...forward, -dot(forward, eye)],
    ];
    return Float32Array.from({ length: 16 }, (_, i) => rows[i % 4][i >> 2]);
  }
}

// Where a world point lies in a picture of this matrix: pixels, and the depth; null = behind.
function project(matrix, point, width, height) {
  const row = (r) =>
    matrix[r] * point[0] + matrix[4 + r] * point[1] + matrix[8 + r] * point[2] + matrix[12 + r];
  const depth = row(3);
  if (depth <= 0) return null;
  return { x: (row(0) / depth + 1) * width / 2, y: (1 - row(1) / depth) * height / 2, depth };
}
