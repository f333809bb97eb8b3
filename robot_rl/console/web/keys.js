// @ts-check
// From a key press to what is meant by it. Space stays unbound.

/** @type {Record<string, string>} */
const BINDINGS = {
  '1': 'success', '0': 'failure', d: 'discard', e: 'end', p: 'pause', r: 'reset_done', u: 'undo', v: 'again',
};

/** A slider is none: whoever has moved it may label at once. @param {EventTarget | null} target */
function isTextField(target) {
  return target instanceof HTMLElement
    && (target.isContentEditable || target.matches('input:not([type="range"]), textarea, select'));
}

/**
 * The action a key press asks for, or null. Held keys, modifiers and text fields ask for nothing, but Esc always stops.
 * @param {KeyboardEvent} event
 * @returns {string | null}
 */
export function intent(event) {
  if (event.key === 'Escape') return 'stop';
  if (event.repeat || event.isComposing) return null;
  if (event.ctrlKey || event.altKey || event.metaKey || isTextField(event.target)) return null;
  if (event.key === '?') return 'help'; // on most keyboards with Shift
  if (event.shiftKey) return null;
  return BINDINGS[event.key.toLowerCase()] ?? null;
}
