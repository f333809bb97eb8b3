// @ts-check
// A recorded episode on one time axis: a cursor, moved by hand or played, in pictures, lines and words.

import { newest } from './newest.js';
import { paint } from './timeline.js';

/** @typedef {import('./types').Recording} Recording */

/**
 * @template {Element} T
 * @param {string} id @param {new () => T} kind
 */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`no ${kind.name} #${id}`);
  return found;
}

const canvas = element('timeline', HTMLCanvasElement);
const slider = element('time', HTMLInputElement);
const button = element('play', HTMLButtonElement);
const words = element('now', HTMLOutputElement);

/** @param {Recording} recording */
function start(recording) {
  const { steps, cameras } = recording;
  const times = steps.map((step) => step.t);
  element('title', HTMLElement).textContent = `${recording.task}, episode ${recording.episode}`;
  element('method', HTMLElement).textContent = `${recording.method} v${recording.adapter_version}`;
  element('outcome', HTMLElement).textContent =
    `ended by ${recording.ended_by}, ${recording.label ? `labelled ${recording.label}` : 'not labelled'}`;
  canvas.setAttribute('aria-label', `Recorded commands: ${steps.length} steps in ${recording.seconds.toFixed(2)} s`);
  const pictures = Object.entries(cameras).map(([camera, taken]) => {
    const figure = document.createElement('figure');
    const image = document.createElement('img');
    const caption = document.createElement('figcaption');
    image.alt = `camera ${camera}`;
    caption.textContent = camera;
    figure.append(image, caption);
    element('pictures', HTMLElement).append(figure);
    return { image, camera, taken };
  });

  /** What the guard had last said, if it held. @param {number} t */
  function guard(t) {
    const said = recording.safety.filter((event) => event.t <= t + 1e-6).at(-1);
    return said && said.level !== 'OK' ? [`guard ${said.level}: ${said.causes.join(', ')}`] : [];
  }

  function show() {
    const t = Number(slider.value);
    const at = newest(times, t);
    const step = steps[at];
    if (step) {
      const sent = step.sent.slice(0, 3).map((m) => (1000 * m).toFixed(1)).join(', ');
      const why = step.reason ? `: ${step.reason}` : '';
      words.textContent = [
        `${t.toFixed(2)} s`, `step ${at + 1} of ${steps.length}`, `chunk ${step.chunk % 100000} row ${step.row}`,
        `sent ${sent} mm`, `${step.verdict}${why}`, ...guard(t),
      ].join(' · ');
    }
    for (const { image, camera, taken } of pictures) {
      const source = `/api/frame/${encodeURIComponent(camera)}/${newest(taken, t)}`;
      if (image.getAttribute('src') !== source) image.setAttribute('src', source);
    }
    paint(canvas, recording, t);
  }

  /** @type {{ begun: number, from: number } | null} */
  let playing = null;

  /** @param {number} now ms */
  function play(now) {
    if (!playing) return;
    const t = playing.from + (now - playing.begun) / 1000;
    slider.value = String(Math.min(t, recording.seconds));
    show();
    if (t < recording.seconds) requestAnimationFrame(play);
    else stop();
  }

  function stop() {
    playing = null;
    button.textContent = 'Play';
    button.setAttribute('aria-pressed', 'false');
  }

  button.addEventListener('click', () => {
    if (playing) return stop();
    const from = Number(slider.value);
    playing = { begun: performance.now(), from: from >= recording.seconds ? 0 : from };
    button.textContent = 'Pause';
    button.setAttribute('aria-pressed', 'true');
    requestAnimationFrame(play);
  });
  slider.max = String(recording.seconds);
  slider.addEventListener('input', () => { stop(); show(); });
  new ResizeObserver(show).observe(canvas);
  show();
}

const answer = await fetch('/api/episode');
start(await answer.json());
