// @ts-check
// The cameras: one large, the others beside it, each with the age of what it shows. A click makes one the large one.

import { Marks } from './marks.js';

/** @typedef {import('./types').FrameNews} FrameNews */
/** @typedef {import('./types').Place} Place */

const LATE_MS = 400;
const STALE_MS = 1000;

class CameraView {
  /** @param {string} name @param {() => void} choose */
  constructor(name, choose) {
    this.name = name;
    /** @type {FrameNews | null} */
    this.news = null;
    this.element = document.createElement('figure');
    this.element.className = 'camera';
    this.element.dataset.camera = name;
    const canvas = document.createElement('canvas');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `live picture of camera ${name}`);
    const caption = document.createElement('figcaption');
    this.button = document.createElement('button');
    this.button.className = 'camera-name';
    this.button.textContent = name;
    this.button.addEventListener('click', choose);
    canvas.addEventListener('click', choose);
    this.badge = document.createElement('span');
    this.badge.className = 'age';
    caption.append(this.button, this.badge);
    this.marks = new Marks();
    this.element.append(canvas, this.marks.element, caption);

    const offscreen = canvas.transferControlToOffscreen();
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const url = `${scheme}://${location.host}/ws/cam/${encodeURIComponent(name)}`;
    this.worker = new Worker('/web/camera_worker.js', { type: 'module' });
    this.worker.addEventListener('message', (event) => {
      this.news = event.data;
      this.element.dataset.seq = String(event.data.seq);
      this.marks.fit(event.data.width, event.data.height);
      if (this.element.dataset.age !== 'live') this.showAge();
    });
    this.worker.postMessage({ url, canvas: offscreen }, [offscreen]);
    this.showAge();
  }

  showAge() {
    const news = this.news;
    if (!news) {
      this.element.dataset.age = 'none';
      this.badge.textContent = 'no picture yet';
      return;
    }
    const age = news.age_ms + performance.timeOrigin + performance.now() - news.arrived;
    const stale = age > STALE_MS;
    this.element.dataset.age = stale ? 'stale' : age > LATE_MS ? 'late' : 'live';
    this.badge.textContent = stale ? `STALE ${(age / 1000).toFixed(1)} s` : `${Math.round(age)} ms`;
  }

  close() {
    this.worker.terminate();
    this.element.remove();
  }
}

export class CameraWall {
  /** @param {HTMLElement} root @param {() => void} changed    `blind` is another one */
  constructor(root, changed) {
    this.changed = changed;
    /** All pictures are old. */
    this.blind = false;
    this.wall = document.createElement('div');
    this.wall.className = 'wall';
    root.append(this.wall);
    /** @type {CameraView[]} */
    this.views = [];
    this.main = '';
    setInterval(() => this.refresh(), 250);
  }

  /** @param {string[]} names @param {Place | null} place @param {boolean} due    it is to be put there now */
  show(names, place, due) {
    this.arrange(names);
    for (const view of this.views) view.marks.show(place, place?.marks[view.name] ?? [], due);
  }

  /** @param {string[]} names */
  arrange(names) {
    if (names.join('\n') === this.views.map((view) => view.name).join('\n')) return;
    this.views.forEach((view) => view.close());
    this.views = names.map((name) => new CameraView(name, () => this.choose(name)));
    this.wall.append(...this.views.map((view) => view.element));
    this.wall.style.setProperty('--others', String(Math.max(1, names.length - 1)));
    this.wall.dataset.count = String(names.length);
    this.choose(names.includes(this.main) ? this.main : names[0] ?? '');
  }

  /** @param {string} name */
  choose(name) {
    this.main = name;
    for (const view of this.views) {
      const main = view.name === name;
      view.element.classList.toggle('main', main);
      view.button.setAttribute('aria-label', main ? `camera ${view.name}, shown large` : `show camera ${view.name} large`);
    }
    this.refresh();
  }

  refresh() {
    for (const view of this.views) {
      view.showAge();
      if (view.name === this.main && view.news) {
        this.wall.style.setProperty('--aspect', (view.news.width / view.news.height).toFixed(3));
      }
    }
    const blind = this.views.length > 0 && this.views.every(({ element }) => element.dataset.age === 'stale');
    if (blind === this.blind) return;
    this.blind = blind;
    this.changed();
  }
}
