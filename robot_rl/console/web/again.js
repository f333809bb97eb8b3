// @ts-check
// A recorded episode, looked at again beside the list: all cameras at one moment, which is played or moved by hand.
// Over the live pictures, so only while nothing moves: `moves` closes it.

import { newest } from './newest.js';

/** @typedef {import('./types').Recording} Recording */

/** A frame that is further from the moment shown says so: the camera, or this machine, was busy then. */
const OLD_S = 0.5;

/** @param {string} id @returns {HTMLElement} */
function part(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

export class Again {
  /**
   * @param {(words: string) => void} refuse    says why nothing is shown
   * @param {() => void} changed    another episode is shown or asked for, or none any more
   */
  constructor(refuse, changed) {
    this.refuse = refuse;
    this.changed = changed;
    this.panel = part('again');
    this.slider = /** @type {HTMLInputElement} */ (part('again-time'));
    this.button = part('again-play');
    /** @type {Recording | null} */
    this.recording = null;
    /** The episode that is shown or asked for. @type {number | null} */
    this.episode = null;
    /** @type {{ begun: number, from: number } | null} */
    this.playing = null;
    /** @type {{ image: HTMLImageElement, caption: HTMLElement, camera: string, taken: number[] }[]} */
    this.pictures = [];
    this.button.addEventListener('click', () => (this.playing ? this.hold() : this.play()));
    this.slider.addEventListener('input', () => {
      this.hold();
      this.show();
    });
    part('again-close').addEventListener('click', () => this.close());
  }

  /**
   * Show it from its beginning, or close it if it is what is shown.
   * @param {number} episode @param {string} large    the camera that is to be the large one
   */
  async toggle(episode, large) {
    if (this.episode === episode) return this.close();
    this.close();
    this.episode = episode;
    this.changed();
    try {
      const answer = await fetch(`/api/episode/${episode}`, { signal: AbortSignal.timeout(5000) });
      const body = await answer.json();
      if (this.episode !== episode) return; // closed, or another one was asked for meanwhile
      if (!answer.ok) throw new Error(body.detail);
      if (Object.values(body.cameras).every((taken) => taken.length === 0)) throw new Error('no pictures were recorded of it');
      this.open(body, large);
    } catch (error) {
      if (this.episode !== episode) return;
      this.close();
      this.refuse(`Episode ${episode}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** @param {Recording} recording @param {string} large */
  open(recording, large) {
    this.recording = recording;
    part('again-title').textContent = `Episode ${recording.episode}, recorded`;
    this.pictures = Object.entries(recording.cameras).filter(([, taken]) => taken.length > 0).map(([camera, taken]) => {
      const image = document.createElement('img');
      image.alt = `recorded picture of camera ${camera}`;
      image.addEventListener('load', () => this.shape());
      return { image, caption: document.createElement('figcaption'), camera, taken };
    });
    const wall = part('again-wall');
    wall.replaceChildren(...this.pictures.map(({ image, caption }) => {
      const figure = document.createElement('figure');
      figure.append(image, caption);
      figure.addEventListener('click', () => this.enlarge(figure));
      return figure;
    }));
    wall.dataset.count = String(this.pictures.length);
    wall.style.setProperty('--others', String(Math.max(1, this.pictures.length - 1)));
    this.enlarge(wall.children[Math.max(0, this.pictures.findIndex(({ camera }) => camera === large))]);
    this.slider.max = String(recording.seconds);
    this.slider.value = '0';
    this.panel.hidden = false;
    this.play();
  }

  /** @param {Element | undefined} chosen */
  enlarge(chosen) {
    for (const figure of part('again-wall').children) figure.className = figure === chosen ? 'camera main' : 'camera';
    this.shape();
  }

  /** The large one is as wide as its picture. */
  shape() {
    const large = part('again-wall').querySelector('.main img');
    if (large instanceof HTMLImageElement && large.naturalWidth) {
      part('again-wall').style.setProperty('--aspect', (large.naturalWidth / large.naturalHeight).toFixed(3));
    }
  }

  close() {
    this.hold();
    this.episode = this.recording = null;
    this.panel.hidden = true;
    part('again-wall').replaceChildren();
    this.changed();
  }

  /** What is live must be seen now. */
  moves() {
    if (this.episode === null) return;
    this.close();
    this.refuse('The robot moves: here it is live');
  }

  show() {
    const { recording } = this;
    if (!recording) return;
    const t = Number(this.slider.value);
    for (const { image, caption, camera, taken } of this.pictures) {
      const index = newest(taken, t);
      const source = `/api/episode/${recording.episode}/frame/${encodeURIComponent(camera)}/${index}`;
      if (image.getAttribute('src') !== source) image.setAttribute('src', source);
      const age = t - (taken[index] ?? t);
      caption.dataset.age = Math.abs(age) > OLD_S ? 'late' : 'live';
      caption.textContent = Math.abs(age) > OLD_S ? `${camera}, taken ${Math.abs(age).toFixed(1)} s ${age > 0 ? 'before' : 'later'}` : camera;
    }
    part('again-now').textContent = `${t.toFixed(1)} of ${recording.seconds.toFixed(1)} s`;
  }

  play() {
    const { recording } = this;
    if (!recording) return;
    const from = Number(this.slider.value);
    const playing = { begun: performance.now(), from: from >= recording.seconds ? 0 : from };
    this.playing = playing;
    this.button.textContent = 'Pause';
    const draw = (/** @type {number} */ now) => {
      if (this.playing !== playing) return;
      const t = playing.from + Math.max(0, now - playing.begun) / 1000;
      this.slider.value = String(Math.min(t, recording.seconds));
      this.show();
      if (t < recording.seconds) requestAnimationFrame(draw);
      else this.hold();
    };
    requestAnimationFrame(draw);
  }

  hold() {
    this.playing = null;
    this.button.textContent = 'Play';
  }
}
