// @ts-check
// What this browser remembers for its person; a browser that may not remember begins anew each time.

/** @param {string} name @param {string} otherwise */
export function kept(name, otherwise) {
  try {
    return localStorage.getItem(`robot_rl.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @param {string} name @param {string} value */
export function keep(name, value) {
  try {
    localStorage.setItem(`robot_rl.${name}`, value);
  } catch {
    // private browsing: it is asked again the next time
  }
}
