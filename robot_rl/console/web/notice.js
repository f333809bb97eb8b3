// @ts-check
// Calls a person who looks elsewhere: a sound, and a mark in the title, when a label or a reset is awaited. One switch.

import { keep, kept } from './kept.js';

/** @typedef {import('./types').ShownState} ShownState */

/** Hz, one after the other. @type {Partial<Record<ShownState, number[]>>} */
const CALLS = { AWAIT_LABEL: [660, 880], AWAIT_RESET: [880, 660] };
const TONE_S = 0.16;

export class Notice {
  /** @param {HTMLElement} button */
  constructor(button) {
    this.button = button;
    this.on = kept('notice', 'on') === 'on';
    /** @type {AudioContext | null} */
    this.audio = null;
    /** @type {ShownState | null} */
    this.state = null;
    this.title = document.title;
    /** What the present state calls with. @type {number[] | undefined} */
    this.tones = undefined;
    button.addEventListener('click', () => {
      this.on = !this.on;
      keep('notice', this.on ? 'on' : 'off');
      this.draw();
    });
    // A browser lets a page sound only after its person has done something on it. Afterwards: making one takes some 75 ms,
    // and what was done may be a STOP.
    for (const gesture of ['pointerdown', 'keydown']) {
      addEventListener(gesture, () => { setTimeout(() => { this.audio ??= new AudioContext(); }); }, { capture: true });
    }
    this.draw();
  }

  /**
   * @param {ShownState} state @param {string} title @param {boolean} auto    nobody has to be called: the twin labels
   */
  show(state, title, auto) {
    this.title = title;
    this.tones = auto ? undefined : CALLS[state];
    this.draw();
    if (state === this.state) return;
    this.state = state;
    if (this.tones && this.on) this.sound(this.tones);
  }

  /** @param {number[]} tones */
  sound(tones) {
    const audio = this.audio;
    if (!audio) return;
    tones.forEach((frequency, i) => {
      const begin = audio.currentTime + i * TONE_S;
      const tone = new OscillatorNode(audio, { frequency });
      const loudness = new GainNode(audio, { gain: 0 });
      loudness.gain.setTargetAtTime(0.12, begin, 0.01); // no click at its edges
      loudness.gain.setTargetAtTime(0, begin + TONE_S - 0.05, 0.015);
      tone.connect(loudness).connect(audio.destination);
      tone.start(begin);
      tone.stop(begin + TONE_S);
    });
  }

  draw() {
    document.title = this.tones && this.on ? `● ${this.title}` : this.title;
    this.button.textContent = this.on ? 'sound on' : 'sound off';
    this.button.setAttribute('aria-pressed', String(this.on));
    this.button.title = this.on ? 'a sound and a mark in the title when a label or a reset is awaited: click for silence'
      : 'no sound and no mark in the title: click to be called';
  }
}
