// @ts-check
// Learning in figures: how far the adapter moves the policy, how smooth the hand's way is, what the learner says of itself.

import { ScatterPlot } from './scatter.js';
import { make, number, part, write } from './view.js';

/** @typedef {import('./types').Snapshot} Snapshot */
/** @typedef {{name: string, value: string, hint: string}} Row */

/** Of the learner's figures, those that say how far the policy is moved: [its name, ours, what it is]. */
const MOVES = /** @type {const} */ ([
  ['latent_mahalanobis', 'Mahalanobis', 'mean distance of z~ from the bottleneck’s own z, over the newest batch'],
  ['feature_shift', 'feature shift', 'mean |g(z~) - g(z)|, over the newest batch'],
  ['shift_squared', '|Δ|²', 'mean squared shift of the noise, over the newest updates; the trust region bounds it'],
  ['multiplier', 'multiplier', 'a of the trust region, mean over the newest updates'],
]);

/** @param {Snapshot} snapshot @returns {Row[]} */
function moves({ effect: { newest }, learner, scatter }) {
  /** @type {Row[]} */
  const rows = [];
  const add = (/** @type {string} */ name, /** @type {string} */ value, /** @type {string} */ hint) => rows.push({ name, value, hint });
  const of = newest ? `, over the ${newest.chunks} chunks of episode ${newest.episode} (adapter v${newest.adapter_version})` : '';
  if (newest?.noise_rms != null) add('noise RMS', number(newest.noise_rms), `of the decoder’s noise${of}; the frozen policy’s own is 1`);
  if (newest?.residual_mm != null) add('residual RMS', `${number(newest.residual_mm)} mm/step`, `length of a control step’s residual${of}`);
  if (newest?.latent_shift != null) {
    const share = newest.latent_rms ? ` (${Math.round(100 * newest.latent_shift / newest.latent_rms)} %)` : '';
    add('latent shift', `${number(newest.latent_shift)}${share}`, `RMS of z~ - z, and its share of the RMS of z${of}`);
  }
  for (const [key, name, hint] of MOVES) {
    const value = learner?.losses[key];
    if (value != null) add(name, number(value), hint);
  }
  if (scatter) {
    const spreads = `${number(scatter.base_spread_mm)} → ${number(scatter.final_spread_mm)} mm`;
    add('spread', spreads, 'RMS distance of the chunks’ ends from their middle: frozen policy, as sent');
    add('moved', `${number(scatter.moved_mm)} mm`, 'from the middle of the frozen policy’s chunks to that of those that are sent');
  }
  return rows;
}

/** @param {Snapshot} snapshot @returns {Row[]} */
function smoothness({ effect: { newest, frozen } }) {
  const of = `mean over the control steps of episode ${newest?.episode}, of what the guard let through`;
  return /** @type {const} */ ([
    ['hand velocity', 'speed_m_s', 'm/s'], ['hand acceleration', 'acceleration_m_s2', 'm/s²'],
  ]).flatMap(([name, key, unit]) => {
    const value = newest?.[key];
    if (value == null) return [];
    const before = frozen?.[key];
    const beside = before == null ? '' : ` · frozen ${number(before)}`;
    const hint = before == null ? of : `${of}; frozen: over the ${frozen?.episodes} episodes that it has run since this process began`;
    return [{ name, value: `${number(value)} ${unit}${beside}`, hint }];
  });
}

/** @param {Snapshot} snapshot @returns {Row[]} */
function losses({ learner }) {
  const elsewhere = new Set(MOVES.map(([key]) => /** @type {string} */ (key)));
  return Object.entries(learner?.losses ?? {})
    .filter(([key, value]) => value !== null && !elsewhere.has(key))
    .map(([key, value]) => ({ name: key.replaceAll('_', ' '), value: number(value), hint: `${key}, mean over the newest updates` }));
}

/** @param {string} id @param {Row[]} rows @param {string} none */
function list(id, rows, none) {
  const root = part(id);
  const key = JSON.stringify(rows);
  if (root.dataset.key === key) return;
  root.dataset.key = key;
  root.replaceChildren(...rows.map(({ name, value, hint }) => {
    const row = make('div', '');
    row.title = hint;
    row.append(make('dt', '', name), make('dd', '', value));
    return row;
  }));
  if (rows.length === 0 && none) root.append(make('div', 'none', none));
}

export class Learning {
  constructor() {
    this.plot = new ScatterPlot(/** @type {HTMLCanvasElement} */ (part('scatter')));
  }

  /** @param {Snapshot} snapshot */
  show(snapshot) {
    const { scatter } = snapshot;
    write('scatter-of', scatter === null ? '' : `episode ${scatter.episode}, v${scatter.adapter_version}`);
    part('view-learning').dataset.refined = String(scatter !== null && scatter.final !== null);
    this.plot.show(scatter);
    list('moves', moves(snapshot), 'Measured when the first episode is over.');
    list('smoothness', smoothness(snapshot), '');
    list('all-losses', losses(snapshot), 'The learner has no figures yet.');
  }
}
