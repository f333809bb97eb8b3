// @ts-check
// The time axis of a recorded episode: where the hand was, what was sent, which chunk it was of, what the guard said.

/** @typedef {import('./types').Recording} Recording */

/** @type {Record<string, string>} */
const VERDICTS = { pass: '--go', clipped: '--ask', held: '--calm', rejected: '--alarm' };

/**
 * @param {HTMLCanvasElement} canvas @param {Recording} recording @param {number} now s
 */
export function paint(canvas, recording, now) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const context = canvas.getContext('2d');
  if (!context || width === 0) return;
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  context.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const size = Math.max(10, Math.round(parseFloat(style.fontSize) * 0.72));
  const { steps } = recording;
  const left = 7 * parseFloat(style.fontSize); // as far as replay.css indents the slider
  const right = width - 6;
  const x = (/** @type {number} */ t) => left + (t / (recording.seconds || 1)) * (right - left);
  context.font = `${size}px Inter, sans-serif`;
  context.textBaseline = 'middle';

  const lines = ['x', 'y', 'z'].map((axis, i) => ({ name: `TCP ${axis}, m`, values: steps.map((s) => s.tcp[i] ?? 0) }));
  lines.push({ name: 'gripper, m', values: steps.map((s) => s.gripper) });
  ['x', 'y', 'z'].forEach((axis, i) => lines.push({ name: `sent ${axis}, mm`, values: steps.map((s) => 1000 * (s.sent[i] ?? 0)) }));
  const band = (height - size * 1.6) / (lines.length + 1);

  steps.forEach((step, i) => {
    const from = x(i === 0 ? 0 : /** @type {{ t: number }} */ (steps[i - 1]).t);
    if (step.chunk % 2 === 1) {
      context.fillStyle = colour('--raised');
      context.fillRect(from, 0, x(step.t) - from, height - size * 1.6);
    }
    context.fillStyle = colour(VERDICTS[step.verdict] ?? '--alarm');
    context.fillRect(from + 0.5, lines.length * band + band * 0.3, Math.max(1, x(step.t) - from - 1), band * 0.4);
  });
  lines.forEach(({ name, values }, row) => {
    const low = Math.min(...values);
    const high = Math.max(...values);
    const y = (/** @type {number} */ value) => row * band + band * (0.88 - 0.76 * (high > low ? (value - low) / (high - low) : 0.5));
    context.fillStyle = colour('--dim');
    context.textAlign = 'left';
    context.fillText(name, 0, row * band + band / 2 - size * 0.6);
    context.fillText(`${low.toPrecision(3)} to ${high.toPrecision(3)}`, 0, row * band + band / 2 + size * 0.6);
    context.strokeStyle = colour('--line');
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(left, Math.round((row + 1) * band) + 0.5);
    context.lineTo(right, Math.round((row + 1) * band) + 0.5);
    context.stroke();
    context.strokeStyle = colour('--text-soft');
    context.lineWidth = 1.5;
    context.beginPath();
    values.forEach((value, i) => context.lineTo(x(/** @type {{ t: number }} */ (steps[i]).t), y(value)));
    context.stroke();
  });
  context.fillStyle = colour('--dim');
  context.fillText('verdict', 0, lines.length * band + band / 2);
  context.fillStyle = colour('--alarm');
  for (const { t } of recording.rejected) context.fillRect(x(t) - 1, lines.length * band, 2, band);
  context.fillStyle = colour('--dim');
  context.textAlign = 'right';
  context.fillText(`${recording.seconds.toFixed(2)} s`, right, height - size * 0.7);
  context.textAlign = 'left';
  context.fillText('0 s', left, height - size * 0.7);
  context.fillStyle = colour('--text');
  context.fillRect(x(now) - 0.75, 0, 1.5, height - size * 1.6);
}
