'use strict';
// The map in the page: what the hand does with it.

(() => {
  const PICK_PIXELS = 14;
  const CLICK_PIXELS = 4;
  const root = document.getElementById('viewer');
  const canvas = root.querySelector('canvas');
  const label = root.querySelector('.label');
  const control = (name) => root.querySelector(`[data-control="${name}"]`);
  const scene = JSON.parse(document.getElementById('scene').textContent);
  const points = Uint8Array.from(atob(scene.points), (letter) => letter.charCodeAt(0));
  // Each point is six numbers of 16 bits, the fourth of which is its weight.
  const weights = new Uint16Array(points.buffer)
    .filter((_, i) => i % 6 === 3).sort();
  const brightWeight = weights[Math.floor(0.98 * scene.count)] / 65535 || 1;
  const orbit = new Orbit(scene);
  const look = { leastWeight: 0, brightWeight, size: 3, showWeight: false, paths: true, cameras: true };
  let matrix = null;
  let waiting = false;
  let drawing;
  try {
    drawing = new Drawing(canvas, scene, points);
  } catch (error) {
    root.classList.add('without-webgl');
    return;
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const density = Math.min(window.devicePixelRatio || 1, 2);
      const width = Math.max(1, Math.round(canvas.clientWidth * density));
      const height = Math.max(1, Math.round(canvas.clientHeight * density));
      if (canvas.width !== width || canvas.height !== height) {
        canvas.width = width;
        canvas.height = height;
      }
      matrix = drawing.draw(orbit, { ...look, size: look.size * density });
    });
  }

  function readControls() {
    // Most weights are small: the slider goes by their rank, so that it is even all the way.
    const hidden = Math.round(Number(control('least-weight').value) * (scene.count - 1));
    look.leastWeight = hidden > 0 ? weights[hidden] / 65535 : 0;
    look.size = Number(control('size').value);
    look.showWeight = control('show-weight').checked;
    look.paths = control('paths').checked;
    look.cameras = control('cameras').checked;
    const shown = scene.count - Math.max(0, weights.findIndex(
      (weight) => weight / 65535 >= look.leastWeight));
    control('least-weight-value').textContent = look.leastWeight.toPrecision(2);
    control('shown').textContent =
      `${shown.toLocaleString('en')} of ${scene.count.toLocaleString('en')} points`;
    redraw();
  }

  // The camera under the pointer, if there is one.
  function pick(event) {
    if (!matrix || !look.cameras) return null;
    const box = canvas.getBoundingClientRect();
    let best = null;
    let nearest = PICK_PIXELS;
    for (const frame of scene.frames) {
      const pose = frame.estimate;
      const seen = pose && project(matrix, [pose[3], pose[7], pose[11]], box.width, box.height);
      if (seen) {
        const away = Math.hypot(
          seen.x - (event.clientX - box.left), seen.y - (event.clientY - box.top));
        if (away < nearest) [best, nearest] = [frame, away];
      }
    }
    return best;
  }

  function showLabel(event) {
    const frame = pick(event);
    label.hidden = !frame;
    canvas.style.cursor = frame ? 'pointer' : '';
    if (!frame) return;
    const box = root.getBoundingClientRect();
    label.textContent = `${frame.name}: ${frame.cm} cm, ${frame.deg} deg. Click to look from there`;
    label.style.left = `${Math.min(event.clientX - box.left + 12, box.width - 240)}px`;
    label.style.top = `${event.clientY - box.top + 12}px`;
  }

  // Every finger, pen or mouse button that is down, and where.
  const down = new Map();
  let travelled = 0;

  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    travelled = down.size ? Infinity : 0;
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });

  canvas.addEventListener('pointermove', (event) => {
    const before = down.get(event.pointerId);
    if (!before) {
      if (event.pointerType === 'mouse') showLabel(event);
      return;
    }
    const now = { x: event.clientX, y: event.clientY };
    const [x, y] = [now.x - before.x, now.y - before.y];
    const height = canvas.clientHeight;
    travelled += Math.hypot(x, y);
    if (down.size === 2) {
      const [, other] = [...down.entries()].find(([id]) => id !== event.pointerId);
      const apart = (place) => Math.max(1, Math.hypot(place.x - other.x, place.y - other.y));
      orbit.zoom(apart(before) / apart(now));
      // Each finger moves the middle between both by half its own way.
      orbit.pan(x / 2 / height, y / 2 / height);
    } else if (event.shiftKey || event.buttons & 6) {
      orbit.pan(x / height, y / height);
    } else {
      orbit.turn((4 * x) / height, (4 * y) / height);
    }
    down.set(event.pointerId, now);
    label.hidden = true;
    redraw();
  });

  canvas.addEventListener('pointerup', (event) => {
    const frame = travelled < CLICK_PIXELS ? pick(event) : null;
    down.delete(event.pointerId);
    if (frame) {
      orbit.lookFrom(frame.estimate);
      label.hidden = true;
      // From within the crowd of cameras nothing else could be seen.
      control('cameras').checked = false;
      readControls();
    }
  });
  canvas.addEventListener('pointercancel', (event) => down.delete(event.pointerId));
  canvas.addEventListener('pointerleave', () => { label.hidden = true; });
  canvas.addEventListener('contextmenu', (event) => event.preventDefault());

  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    // Browsers count in pixels, lines or pages.
    const pixels = event.deltaY * [1, 20, 400][event.deltaMode];
    orbit.zoom(Math.exp(Math.max(-200, Math.min(200, pixels)) / 500));
    redraw();
  }, { passive: false });

  const KEYS = {
    ArrowLeft: () => orbit.turn(-0.1, 0),
    ArrowRight: () => orbit.turn(0.1, 0),
    ArrowUp: () => orbit.turn(0, -0.1),
    ArrowDown: () => orbit.turn(0, 0.1),
    '+': () => orbit.zoom(0.85),
    '-': () => orbit.zoom(1 / 0.85),
    0: () => orbit.reset(),
  };
  canvas.addEventListener('keydown', (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    KEYS[event.key]();
    redraw();
  });

  const BUTTONS = {
    reset: () => {
      orbit.reset();
      control('cameras').checked = true;
      readControls();
    },
    above: () => orbit.fromAbove(),
    larger: () => (document.fullscreenElement
      ? document.exitFullscreen() : root.requestFullscreen()),
  };
  for (const [name, act] of Object.entries(BUTTONS)) {
    control(name).addEventListener('click', () => {
      act();
      redraw();
    });
  }
  if (!document.fullscreenEnabled) control('larger').hidden = true;
  for (const input of root.querySelectorAll('input')) {
    input.addEventListener('input', readControls);
  }
  canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
  canvas.addEventListener('webglcontextrestored', () => {
    drawing.upload();
    redraw();
  });
  new ResizeObserver(redraw).observe(canvas);
  readControls();
})();
