// @ts-check
// The panel that explains the work and its keys: open on the first visit, and by `?`. Nothing waits for it.

import { keep, kept } from './kept.js';

export class Help {
  /** @param {HTMLElement} panel @param {HTMLElement} opener @param {HTMLElement} closer */
  constructor(panel, opener, closer) {
    this.panel = panel;
    this.opener = opener;
    opener.addEventListener('click', () => this.toggle());
    closer.addEventListener('click', () => this.toggle(false));
    this.toggle(kept('help', 'new') === 'new');
  }

  toggle(open = this.panel.hidden) {
    this.panel.hidden = !open;
    this.opener.setAttribute('aria-expanded', String(open));
    if (!open) keep('help', 'seen');
  }
}
