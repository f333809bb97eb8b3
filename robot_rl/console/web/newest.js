// @ts-check

/**
 * Index of the last of rising `times` at or before `t`; 0 before the first.
 * @param {number[]} times @param {number} t
 */
export function newest(times, t) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (/** @type {number} */ (times[middle]) <= t + 1e-6) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}
