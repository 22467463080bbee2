'use strict';
// Axes on a canvas: from data to pixels and back, moved and zoomed by hand.

const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// 1, 2 or 5 times a power of ten, so that about so many fit into an extent.
function niceStep(extent, count) {
  const rough = extent / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

class Plot {
  // range: {x0, x1, y0, y1}; equal: a metre is as long across as up; locked: y is not zoomed.
  constructor(canvas, { range, xLabel, yLabel, equal = false, locked = false }) {
    Object.assign(this, { canvas, xLabel, yLabel, equal, locked, home: { ...range } });
    this.context = canvas.getContext('2d');
    this.margin = { left: 58, right: 14, top: 12, bottom: xLabel ? 42 : 14 };
    this.reset();
  }

  get width() { return this.canvas.clientWidth; }
  get height() { return this.canvas.clientHeight; }
  get innerWidth() { return Math.max(1, this.width - this.margin.left - this.margin.right); }
  get innerHeight() { return Math.max(1, this.height - this.margin.top - this.margin.bottom); }

  reset() {
    this.range = { ...this.home };
    if (!this.equal) return;
    const { x0, x1, y0, y1 } = this.home;
    const scale = Math.max((x1 - x0) / this.innerWidth, (y1 - y0) / this.innerHeight);
    const [halfX, halfY] = [(scale * this.innerWidth) / 2, (scale * this.innerHeight) / 2];
    const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
    this.range = { x0: x - halfX, x1: x + halfX, y0: y - halfY, y1: y + halfY };
  }

  pixel(x, y) {
    const { x0, x1, y0, y1 } = this.range;
    return [
      this.margin.left + ((x - x0) / (x1 - x0)) * this.innerWidth,
      this.margin.top + ((y1 - y) / (y1 - y0)) * this.innerHeight,
    ];
  }

  pan(dx, dy) {
    const { x0, x1, y0, y1 } = this.range;
    const x = (dx / this.innerWidth) * (x1 - x0);
    const y = this.locked ? 0 : (dy / this.innerHeight) * (y1 - y0);
    this.range = { x0: x0 - x, x1: x1 - x, y0: y0 + y, y1: y1 + y };
  }

  // About a pixel; a factor above 1 shows more.
  zoom(px, py, factor) {
    const across = (this.range.x1 - this.range.x0) / (this.home.x1 - this.home.x0);
    const limited = Math.min(Math.max(across * factor, 1e-4), 20) / across;
    const share = [
      (px - this.margin.left) / this.innerWidth,
      (this.margin.top + this.innerHeight - py) / this.innerHeight,
    ];
    const around = (low, high, part) => {
      const at = low + part * (high - low);
      return [at - (at - low) * limited, at + (high - at) * limited];
    };
    const { x0, x1, y0, y1 } = this.range;
    [this.range.x0, this.range.x1] = around(x0, x1, share[0]);
    if (!this.locked) [this.range.y0, this.range.y1] = around(y0, y1, share[1]);
  }

  // Clears, draws the grid, and clips to the inside until `end`.
  begin() {
    const density = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [Math.round(this.width * density), Math.round(this.height * density)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      const isFirst = this.equal && !this.shown;
      [this.canvas.width, this.canvas.height] = [width, height];
      if (isFirst) this.reset();
      this.shown = true;
    }
    const pen = this.context;
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    this.grid(pen);
    pen.save();
    pen.beginPath();
    pen.rect(this.margin.left, this.margin.top, this.innerWidth, this.innerHeight);
    pen.clip();
    return pen;
  }

  end() { this.context.restore(); }

  grid(pen) {
    const { x0, x1, y0, y1 } = this.range;
    const { left, top } = this.margin;
    const bottom = top + this.innerHeight;
    pen.font = '12px system-ui, sans-serif';
    pen.lineWidth = 1;
    pen.strokeStyle = colour('line');
    pen.fillStyle = colour('soft');
    const stepX = niceStep(x1 - x0, Math.max(2, this.innerWidth / 90));
    const stepY = niceStep(y1 - y0, Math.max(2, this.innerHeight / 45));
    const text = (value, step) =>
      value.toFixed(Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))));
    pen.textAlign = 'center';
    for (let x = Math.ceil(x0 / stepX) * stepX; x <= x1; x += stepX) {
      const [px] = this.pixel(x, y0);
      this.line(pen, px, top, px, bottom);
      if (this.xLabel) pen.fillText(text(x, stepX), px, bottom + 16);
    }
    pen.textAlign = 'right';
    for (let y = Math.ceil(y0 / stepY) * stepY; y <= y1 + 1e-9 * stepY; y += stepY) {
      const [, py] = this.pixel(x0, y);
      this.line(pen, left, py, left + this.innerWidth, py);
      pen.fillText(text(y, stepY), left - 7, py + 4);
    }
    pen.textAlign = 'center';
    if (this.xLabel) pen.fillText(this.xLabel, left + this.innerWidth / 2, bottom + 34);
    pen.save();
    pen.translate(13, top + this.innerHeight / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText(this.yLabel, 0, 0);
    pen.restore();
  }

  line(pen, x0, y0, x1, y1) {
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
  }

  // pick(px, py) gives the index of a frame or -1; the others are told of what the hand does.
  listen({ pick, hover, select, redraw }) {
    const canvas = this.canvas;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let from = null;
    let travelled = 0;
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = [event.clientX, event.clientY];
      travelled = 0;
      hover(-1, event);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (!from) {
        const index = pick(...place(event));
        canvas.style.cursor = index < 0 ? '' : 'pointer';
        hover(index, event);
        return;
      }
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      travelled += Math.hypot(dx, dy);
      from = [event.clientX, event.clientY];
      this.pan(dx, dy);
      redraw();
    });
    canvas.addEventListener('pointerup', (event) => {
      if (from && travelled < 4) {
        const index = pick(...place(event));
        if (index >= 0) select(index);
      }
      from = null;
    });
    canvas.addEventListener('pointercancel', () => { from = null; });
    canvas.addEventListener('pointerleave', (event) => hover(-1, event));
    canvas.addEventListener('dblclick', () => {
      this.reset();
      redraw();
    });
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      // Browsers count in pixels, lines or pages.
      const pixels = event.deltaY * [1, 20, 400][event.deltaMode];
      this.zoom(...place(event), Math.exp(Math.max(-200, Math.min(200, pixels)) / 400));
      redraw();
    }, { passive: false });
    new ResizeObserver(redraw).observe(canvas);
  }
}
