// @ts-check
// Buttons of which one is pressed, and this browser remembers which.

import { keep, kept } from './kept.js';

/**
 * @param {string} name    under which it is remembered
 * @param {Record<string, HTMLElement>} buttons    by what each stands for; the first one, if nothing is remembered
 * @param {(chosen: string) => void} choose    called at once, and whenever another one is pressed
 */
export function choice(name, buttons, choose) {
  const known = Object.keys(buttons);
  const press = (/** @type {string} */ chosen) => {
    for (const [key, button] of Object.entries(buttons)) button.setAttribute('aria-pressed', String(key === chosen));
    choose(chosen);
  };
  for (const [key, button] of Object.entries(buttons)) {
    button.addEventListener('click', () => { keep(name, key); press(key); });
  }
  const remembered = kept(name, '');
  press(known.includes(remembered) ? remembered : known[0] ?? '');
}
