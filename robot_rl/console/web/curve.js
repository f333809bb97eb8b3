// @ts-check
// The success curve, by episode or by minute: every episode's 0 or 1, the mean of the last episodes with its Wilson
// interval, and the base's line with its own.

/** @typedef {import('./types').Snapshot} Snapshot */
/** @typedef {'episode' | 'minute'} Axis */

export const WINDOW = 20;
const CHOICE_REM = 10; // at the right of the axis stand the buttons that choose it

/**
 * The Wilson score interval of `successes` out of `n`, 95 %.
 * @param {number} successes @param {number} n
 * @returns {[number, number]}
 */
export function wilson(successes, n) {
  if (n === 0) return [0, 1];
  const z = 1.96;
  const p = successes / n;
  const centre = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

/**
 * The interval of the frozen policy alone; null if it was not measured.
 * @param {Snapshot} snapshot
 */
export function baseInterval({ base_success: success, base_trials: trials }) {
  return success === null || !trials ? null : wilson(Math.round(success * trials), trials);
}

/**
 * When each episode began, in minutes since the run's first one did.
 * @param {import('./types').EpisodeRow[]} rows
 */
export function minutes(rows) {
  const first = Math.min(...rows.map((row) => row.started_wall_s));
  return new Map(rows.map((row) => [row.episode, (row.started_wall_s - first) / 60]));
}

/**
 * The first episode that ran with what was learnt; null: none yet, nothing learns, or there was no warm-up.
 * @param {Snapshot} snapshot
 */
export function learntFrom({ learner, warmup, episodes }) {
  if (learner === null || warmup.episodes === 0) return null;
  return episodes.find((row) => row.adapter_version >= warmup.episodes)?.episode ?? null;
}

/**
 * For each point of the curve, mean and interval over it and up to WINDOW - 1 before it.
 * @param {[number, 0 | 1][]} curve
 */
export function moving(curve) {
  return curve.map(([episode], i) => {
    const window = curve.slice(Math.max(0, i - WINDOW + 1), i + 1);
    const successes = window.reduce((sum, [, value]) => sum + value, 0);
    const [low, high] = wilson(successes, window.length);
    return { episode, mean: successes / window.length, low, high, n: window.length };
  });
}

/**
 * Episodes per hour, by the median time between the starts of the last ones: a break for lunch does not count.
 * @param {import('./types').EpisodeRow[]} rows
 * @returns {number | null} null for less than three episodes
 */
export function perHour(rows) {
  const starts = rows.slice(-WINDOW - 1).map((row) => row.started_wall_s);
  const gaps = starts.slice(1).map((start, i) => start - (starts[i] ?? start)).sort((a, b) => a - b);
  const median = gaps[gaps.length >> 1] ?? 0;
  return gaps.length < 2 || median <= 0 ? null : 3600 / median;
}

export class Curve {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {Snapshot | null} */
    this.snapshot = null;
    this.drawn = '';
    /** @type {Axis} */
    this.axis = 'episode';
    new ResizeObserver(() => { this.drawn = ''; this.draw(); }).observe(canvas);
    document.fonts.ready.then(() => { this.drawn = ''; this.draw(); });
  }

  /** @param {Snapshot} snapshot */
  show(snapshot) {
    this.snapshot = snapshot;
    this.draw();
  }

  /** @param {Axis} axis */
  by(axis) {
    this.axis = axis;
    this.draw();
  }

  draw() {
    const snapshot = this.snapshot;
    const { clientWidth, clientHeight } = this.canvas;
    if (!snapshot || clientWidth === 0) return;
    const key = JSON.stringify([this.axis, snapshot.curve, snapshot.base_success, snapshot.episodes_planned, learntFrom(snapshot)]);
    if (key === this.drawn) return;
    this.drawn = key;
    this.canvas.title = legend(snapshot, this.axis);
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    const context = this.canvas.getContext('2d');
    if (!context) return;
    context.scale(ratio, ratio);
    paint(context, snapshot, this.axis, clientWidth, clientHeight);
  }
}

/** What is drawn, in words. @param {Snapshot} snapshot @param {Axis} axis */
function legend(snapshot, axis) {
  const learnt = learntFrom(snapshot);
  return [
    `up: success, mean of the last ${WINDOW} episodes and its 95 % interval; across: ${axis === 'episode' ? 'episodes' : 'minutes'}`,
    ...(snapshot.base_success === null ? [] : ['dashed: the frozen policy alone']),
    ...(learnt === null ? [] : [`upright line: the warm-up is over, episode ${learnt} is the first with what was learnt`]),
  ].join('; ');
}

/**
 * @param {CanvasRenderingContext2D} context @param {Snapshot} snapshot @param {Axis} axis
 * @param {number} width @param {number} height
 */
function paint(context, snapshot, axis, width, height) {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const size = Math.max(10, Math.round(parseFloat(style.fontSize) * 0.72));
  const box = { left: size * 3.6, right: width - 6, top: size * 1.3, bottom: height - size * 2.6 };
  const began = minutes(snapshot.episodes);
  const last = axis === 'episode' ? Math.max(snapshot.episodes_planned, snapshot.curve.at(-1)?.[0] ?? 0, 10)
    : Math.max(1, ...began.values());
  const across = (/** @type {number} */ at) => box.left + (at / last) * (box.right - box.left);
  const x = (/** @type {number} */ episode) => across(axis === 'episode' ? episode - 0.5 : began.get(episode) ?? 0);
  const y = (/** @type {number} */ success) => box.bottom - success * (box.bottom - box.top);
  context.font = `${size}px Inter, sans-serif`;
  context.lineJoin = 'round';

  context.strokeStyle = colour('--line');
  context.fillStyle = colour('--dim');
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  for (const level of [0, 0.5, 1]) {
    context.beginPath();
    context.moveTo(box.left, Math.round(y(level)) + 0.5);
    context.lineTo(box.right, Math.round(y(level)) + 0.5);
    context.stroke();
    context.fillText(`${level * 100} %`, box.left - size * 0.6, y(level));
  }
  context.textBaseline = 'bottom';
  const strides = axis === 'episode' ? [5, 10, 20, 25, 50, 100, 200, 500] : [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 240];
  const stride = strides.find((step) => last / step <= 6) ?? 1000;
  context.textAlign = 'center';
  for (let n = axis === 'episode' ? 1 : 0; n * stride <= last; n += 1) {
    const at = axis === 'episode' ? across(n * stride - 0.5) : across(n * stride);
    if (at < width - CHOICE_REM * parseFloat(style.fontSize)) context.fillText(`${Number((n * stride).toPrecision(3))}`, at, height);
  }

  const points = moving(snapshot.curve);
  if (points.length > 0) {
    context.beginPath();
    points.forEach((point) => context.lineTo(x(point.episode), y(point.high)));
    [...points].reverse().forEach((point) => context.lineTo(x(point.episode), y(point.low)));
    context.closePath();
    context.fillStyle = colour('--go-faint');
    context.fill();
  }
  const ends = baseInterval(snapshot);
  if (ends) {
    context.fillStyle = colour('--base-faint');
    context.fillRect(box.left, y(ends[1]), box.right - box.left, y(ends[0]) - y(ends[1]));
  }
  if (snapshot.base_success !== null) {
    context.setLineDash([5, 4]);
    context.strokeStyle = colour('--text-soft');
    context.beginPath();
    context.moveTo(box.left, y(snapshot.base_success));
    context.lineTo(box.right, y(snapshot.base_success));
    context.stroke();
    context.setLineDash([]);
  }
  const learnt = learntFrom(snapshot);
  if (learnt !== null) {
    const at = Math.round(axis === 'episode' ? across(learnt - 1) : x(learnt)) + 0.5;
    context.strokeStyle = context.fillStyle = colour('--dim');
    context.beginPath();
    context.moveTo(at, box.top);
    context.lineTo(at, box.bottom);
    context.stroke();
    context.textAlign = 'left';
    if (box.bottom - box.top > 5 * size) context.fillText('learning', at + size * 0.4, box.bottom - size * 0.3);
  }
  for (const [episode, value] of snapshot.curve) {
    context.fillStyle = value === 1 ? colour('--go') : colour('--miss');
    const width = Math.max(1.5, Math.min(4, (box.right - box.left) / Math.max(snapshot.episodes_planned, 1) - 1));
    const top = value === 1 ? y(1) - size * 0.75 : y(0) + size * 0.35;
    context.fillRect(x(episode) - width / 2, top, width, size * 0.42);
  }
  if (points.length > 0) {
    context.beginPath();
    points.forEach((point) => context.lineTo(x(point.episode), y(point.mean)));
    context.strokeStyle = colour('--go');
    context.lineWidth = 2.25;
    context.stroke();
    const newest = points[points.length - 1];
    if (newest) {
      context.beginPath();
      context.arc(x(newest.episode), y(newest.mean), 3.5, 0, 2 * Math.PI);
      context.fillStyle = colour('--go');
      context.fill();
    }
  }
}
