'use strict';
// The frames of the bag: on the plan, over time, and one of them in full.

(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const frames = data.frames;
  const byId = (id) => document.getElementById(id);
  const withView = frames.map((_, i) => i).filter((i) => frames[i].name in data.views);
  const PICK_PIXELS = 16;
  let selected = -1;
  let hovered = -1;

  const KINDS = {
    accepted: 'blue', rejected: 'amber', false: 'red', lost: 'red',
  };
  function kind(frame) {
    if (frame.cm === null) return 'lost';
    if (frame.why) return 'rejected';
    return frame.false ? 'false' : 'accepted';
  }
  const errorText = (frame) => (frame.cm === null
    ? 'no pose' : `${frame.cm.toFixed(1)} cm, ${frame.deg.toFixed(2)} deg`);
  const verdictText = (frame) => (frame.why
    ? `rejected: ${frame.why}` : frame.false ? 'accepted, but wrong' : 'accepted');

  // The frame of the nearest picture, for those that have none of their own.
  function nearestView(index) {
    let best = -1;
    for (const i of withView) {
      const isNearer = best < 0
        || Math.abs(frames[i].t - frames[index].t) < Math.abs(frames[best].t - frames[index].t);
      if (isNearer) best = i;
    }
    return best;
  }

  // ---- the plan

  const AXES = { xy: [0, 1], xz: [0, 2], yz: [1, 2] };
  const view = byId('plan-view');
  view.value = data.axes;

  function planRange() {
    const [across, up] = AXES[view.value];
    const bounds = (axis) => {
      const values = frames.map((frame) => frame.true[axis]);
      const [low, high] = values.reduce(
        ([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
      const margin = Math.max(0.08 * (high - low), 0.15);
      return [low - margin, high + margin];
    };
    const [[x0, x1], [y0, y1]] = [bounds(across), bounds(up)];
    return { x0, x1, y0, y1 };
  }

  const plan = new Plot(byId('plan'), { range: planRange(), xLabel: 'x (m)', yLabel: 'y (m)', equal: true });

  function planPoint(pose) {
    const [across, up] = AXES[view.value];
    return plan.pixel(pose[across], pose[up]);
  }

  function drawTruth(pen) {
    pen.strokeStyle = colour('soft');
    pen.lineWidth = 1.5;
    pen.beginPath();
    frames.forEach((frame, i) => {
      const point = planPoint(frame.true);
      if (i === 0 || frame.gap) pen.moveTo(...point); else pen.lineTo(...point);
    });
    pen.stroke();
  }

  function drawErrors(pen) {
    pen.lineWidth = 1;
    pen.strokeStyle = colour('faint');
    pen.beginPath();
    for (const frame of frames) {
      if (!frame.estimate) continue;
      pen.moveTo(...planPoint(frame.true));
      pen.lineTo(...planPoint(frame.estimate));
    }
    pen.stroke();
  }

  function mark(pen, [x, y], frame, size) {
    const name = kind(frame);
    pen.fillStyle = colour(KINDS[name]);
    pen.strokeStyle = pen.fillStyle;
    if (name === 'lost') {
      pen.lineWidth = 1.5;
      plan.line(pen, x - size, y - size, x + size, y + size);
      plan.line(pen, x - size, y + size, x + size, y - size);
      return;
    }
    pen.beginPath();
    pen.arc(x, y, name === 'false' ? size + 1.5 : size, 0, 2 * Math.PI);
    pen.fill();
  }

  function ring(pen, [x, y], width) {
    pen.strokeStyle = colour('ink');
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(x, y, 8, 0, 2 * Math.PI);
    pen.stroke();
  }

  function drawPlan() {
    const labels = [...view.value].map((axis) => `${axis} (m)`);
    [plan.xLabel, plan.yLabel] = labels;
    const pen = plan.begin();
    drawTruth(pen);
    drawErrors(pen);
    for (const frame of frames) mark(pen, planPoint(frame.estimate || frame.true), frame, 3);
    for (const [index, width] of [[hovered, 1], [selected, 2.5]]) {
      if (index >= 0) ring(pen, planPoint(frames[index].estimate || frames[index].true), width);
    }
    plan.end();
  }

  // ---- errors over time

  const times = frames.map((frame) => frame.t);
  const span = Math.max(times[times.length - 1] - times[0], 1e-3);

  function timeline(id, key, unit, xLabel) {
    const errors = frames.map((frame) => frame[key]).filter((value) => value !== null);
    errors.sort((a, b) => a - b);
    // Gross failures are drawn at the upper edge: all others would lie flat on the axis.
    const top = 1.25 * Math.max(errors[Math.floor(0.98 * (errors.length - 1))] || 1, 1e-3);
    const plot = new Plot(byId(id), {
      range: { x0: times[0] - 0.01 * span, x1: times[times.length - 1] + 0.01 * span, y0: 0, y1: top },
      xLabel,
      yLabel: unit,
      locked: true,
    });
    const point = (frame) => {
      const value = frame[key];
      const [x, y] = plot.pixel(frame.t, value === null ? top : value);
      return [x, Math.max(y, plot.margin.top + 6)];
    };
    const draw = () => {
      const pen = plot.begin();
      for (const frame of frames) mark(pen, point(frame), frame, 2.5);
      for (const [index, width] of [[hovered, 1], [selected, 2.5]]) {
        if (index >= 0) ring(pen, point(frames[index]), width);
      }
      plot.end();
    };
    return { plot, point, draw };
  }

  const lines = [
    timeline('errors-cm', 'cm', 'position (cm)', ''),
    timeline('errors-deg', 'deg', 'rotation (deg)', 'time in the recording (s)'),
  ];

  // ---- one frame

  function show(index) {
    selected = index;
    const frame = frames[index];
    const from = nearestView(index);
    const pictures = from < 0 ? {} : data.views[frames[from].name];
    for (const name of ['image', 'depth', 'world', 'weights']) {
      const picture = byId(`frame-${name}`);
      picture.parentElement.hidden = !pictures[name];
      if (pictures[name]) picture.src = pictures[name];
    }
    byId('frame-name').textContent = `Frame ${frame.name}`;
    byId('frame-note').textContent = from >= 0 && from !== index
      ? `The report keeps no picture of this frame: these are of frame ${frames[from].name}, `
        + `${Math.abs(frames[from].t - frame.t).toFixed(2)} s away.` : '';
    const facts = {
      time: `${frame.t.toFixed(3)} s`,
      error: errorText(frame),
      verdict: verdictText(frame),
      confidence: frame.confidence === null ? '–' : frame.confidence.toFixed(3),
      'error that it expected': frame.sigma_cm === null
        ? '–' : `${frame.sigma_cm.toFixed(1)} cm, ${frame.sigma_deg.toFixed(2)} deg`,
      latency: frame.ms === null ? '–' : `${frame.ms.toFixed(1)} ms`,
      reason: frame.reason || '–',
    };
    byId('frame-facts').replaceChildren(...Object.entries(facts).flatMap(([key, value]) => {
      const [term, text] = [document.createElement('dt'), document.createElement('dd')];
      term.textContent = key;
      text.textContent = value;
      return [term, text];
    }));
    byId('frame').classList.add('filled');
    redraw();
  }

  function step(by) {
    show(Math.min(Math.max((selected < 0 ? 0 : selected) + by, 0), frames.length - 1));
  }

  // ---- what the hand does

  const tip = byId('tip');

  function hover(index, event) {
    if (index !== hovered) {
      hovered = index;
      redraw();
    }
    tip.hidden = index < 0;
    if (index < 0) return;
    const frame = frames[index];
    const from = nearestView(index);
    tip.querySelector('img').hidden = from < 0;
    if (from >= 0) tip.querySelector('img').src = data.views[frames[from].name].image;
    const near = from >= 0 && from !== index ? `, picture of ${frames[from].name}` : '';
    tip.querySelector('p').textContent =
      `${frame.name} at ${frame.t.toFixed(2)} s${near}: ${errorText(frame)}; ${verdictText(frame)}`;
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const left = Math.min(event.clientX + 16, window.innerWidth - width - 8);
    const isBelow = event.clientY + height + 24 < window.innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, isBelow ? event.clientY + 16 : event.clientY - height - 16)}px`;
  }

  function nearest(points, distance, limit) {
    let [best, away] = [-1, limit];
    points.forEach((point, i) => {
      const d = distance(point);
      if (d < away) [best, away] = [i, d];
    });
    return best;
  }

  let isWaiting = false;
  function redraw() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      drawPlan();
      lines.forEach(({ draw }) => draw());
    });
  }

  plan.listen({
    pick: (x, y) => nearest(
      frames.map((frame) => planPoint(frame.estimate || frame.true)),
      ([px, py]) => Math.hypot(px - x, py - y), PICK_PIXELS),
    hover, select: show, redraw,
  });
  for (const { plot, point } of lines) {
    plot.listen({
      pick: (x, y) => nearest(
        frames.map(point), ([px, py]) => Math.abs(px - x) + 0.05 * Math.abs(py - y), 3 * PICK_PIXELS),
      hover,
      select: show,
      redraw: () => {
        // Both show the same stretch of time.
        for (const other of lines) {
          [other.plot.range.x0, other.plot.range.x1] = [plot.range.x0, plot.range.x1];
        }
        redraw();
      },
    });
  }
  view.addEventListener('change', () => {
    plan.home = planRange();
    plan.reset();
    redraw();
  });
  byId('plan-reset').addEventListener('click', () => {
    plan.reset();
    redraw();
  });
  byId('frame-previous').addEventListener('click', () => step(-1));
  byId('frame-next').addEventListener('click', () => step(1));
  byId('frame').addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
  });
  for (const button of document.querySelectorAll('[data-frame]')) {
    button.addEventListener('click', () => {
      show(frames.findIndex((frame) => frame.name === button.dataset.frame));
      byId('plan-section').scrollIntoView();
    });
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  show(Math.max(0, frames.findIndex((frame) => frame.name === data.first)));
})();
