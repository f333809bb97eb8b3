// @ts-check
// Where chunks of one state would take the hand, before and after steering: three clouds of points on two axes, in mm.

/** @typedef {import('./types').Scatter} Scatter */
/** @typedef {import('./types').Cloud} Cloud */

const NONE = 'No chunks were drawn yet';

export class ScatterPlot {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {Scatter | null} */
    this.scatter = null;
    this.drawn = '';
    new ResizeObserver(() => { this.drawn = ''; this.draw(); }).observe(canvas);
  }

  /** @param {Scatter | null} scatter */
  show(scatter) {
    this.scatter = scatter;
    this.draw();
  }

  draw() {
    const { scatter, canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (width === 0) return; // in a view that is not shown
    const key = JSON.stringify(scatter);
    if (key === this.drawn) return;
    this.drawn = key;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.setAttribute('aria-label', scatter === null ? NONE : words(scatter));
    const context = canvas.getContext('2d');
    if (!context || scatter === null) return;
    context.scale(ratio, ratio);
    paint(context, scatter, width, height);
  }
}

/** @param {Scatter} scatter */
function words(scatter) {
  const mm = (/** @type {number} */ value) => `${value.toPrecision(2)} mm`;
  return `Where chunks would take the hand at the beginning of episode ${scatter.episode}, along ${scatter.axes.join(' and ')}: `
    + `the frozen policy's spread over ${mm(scatter.base_spread_mm)}, those that are sent over ${mm(scatter.final_spread_mm)}; `
    + `their middle is moved by ${mm(scatter.moved_mm)}`;
}

/**
 * @param {CanvasRenderingContext2D} context @param {Scatter} scatter
 * @param {number} width @param {number} height
 */
function paint(context, scatter, width, height) {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const size = Math.max(10, Math.round(parseFloat(style.fontSize) * 0.72));
  const all = [...scatter.base, ...scatter.steered, ...(scatter.final ?? [])];
  const box = { left: size * 1.3, top: 2, right: width - 2, bottom: height - size * 1.3 };
  const middle = [0, 1].map((axis) => {
    const values = all.map((point) => point[axis] ?? 0);
    return (Math.min(...values) + Math.max(...values)) / 2;
  });
  // One scale for both axes: a distance on the screen is a distance of the hand.
  const reach = Math.max(1, ...all.flatMap((point) => [0, 1].map((axis) => Math.abs((point[axis] ?? 0) - (middle[axis] ?? 0)))));
  const scale = (Math.min(box.right - box.left, box.bottom - box.top) / 2 - 5) / reach; // pixels per mm
  const x = (/** @type {number} */ value) => (box.left + box.right) / 2 + scale * (value - (middle[0] ?? 0));
  const y = (/** @type {number} */ value) => (box.top + box.bottom) / 2 - scale * (value - (middle[1] ?? 0));

  context.strokeStyle = colour('--line');
  context.strokeRect(box.left + 0.5, box.top + 0.5, box.right - box.left - 1, box.bottom - box.top - 1);
  context.font = `${size}px Inter, sans-serif`;
  context.fillStyle = colour('--dim');
  context.textBaseline = 'bottom';
  context.textAlign = 'left';
  context.fillText(`${scatter.axes[0]}`, box.left, height);
  const bar = [1, 2, 5, 10, 20, 50, 100, 200, 500].filter((mm) => mm * scale < 0.55 * (box.right - box.left)).at(-1) ?? 1;
  context.textAlign = 'right';
  context.fillText(`${bar} mm`, box.right - bar * scale - 4, height);
  context.fillRect(box.right - bar * scale, height - size * 0.6, bar * scale, 2);
  context.save();
  context.translate(size * 1.1, box.bottom);
  context.rotate(-Math.PI / 2);
  context.textAlign = 'left';
  context.fillText(`${scatter.axes[1]}`, 0, 0);
  context.restore();

  const radius = Math.max(2, size / 5);
  context.lineWidth = 1.2;
  context.strokeStyle = colour('--text-soft');
  for (const [a, b] of scatter.base) {
    context.beginPath();
    context.arc(x(a), y(b), radius, 0, 2 * Math.PI);
    context.stroke();
  }
  context.strokeStyle = colour('--calm');
  for (const [a, b] of scatter.steered) {
    context.beginPath();
    context.moveTo(x(a) - radius, y(b) - radius);
    context.lineTo(x(a) + radius, y(b) + radius);
    context.moveTo(x(a) - radius, y(b) + radius);
    context.lineTo(x(a) + radius, y(b) - radius);
    context.stroke();
  }
  context.fillStyle = colour('--go');
  for (const [a, b] of scatter.final ?? []) {
    context.beginPath();
    context.arc(x(a), y(b), radius, 0, 2 * Math.PI);
    context.fill();
  }
}
