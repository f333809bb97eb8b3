// @ts-check
// Draws what is known: the state in its band, the causes, the buttons with their reasons, and the numbers beside.

import { ACTIONS, GROUPS, refusal } from './actions.js';
import { baseInterval, moving, perHour, WINDOW } from './curve.js';
import { look, prompt } from './states.js';

/** @typedef {import('./types').Snapshot} Snapshot */
/** @typedef {import('./types').Safety} Safety */
/** @typedef {import('./types').ShownState} ShownState */

/** @param {string} id @returns {HTMLElement} */
export function part(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/** @param {string} id @param {string} text */
export function write(id, text) {
  const element = part(id);
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} tag @param {string} className @param {string} [text] */
export function make(tag, className, text = '') {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

const percent = (/** @type {number} */ share) => `${Math.round(100 * share)} %`;
export const number = (/** @type {number | null} */ value) => (value === null ? '–' : Number(value.toPrecision(3)).toString());

/**
 * Make the buttons once.
 * @param {(id: string) => void} press
 */
export function buildActions(press) {
  for (const group of GROUPS) {
    const box = make('div', 'group');
    for (const action of group) {
      const button = make('button', 'action');
      button.id = `action-${action.id}`;
      button.dataset.action = action.id;
      const name = make('span', 'name');
      if (action.key) name.append(make('kbd', '', action.key));
      name.append(make('span', '', action.label));
      const reason = make('span', 'reason');
      reason.id = `reason-${action.id}`;
      button.setAttribute('aria-describedby', reason.id);
      button.append(name, reason);
      button.addEventListener('click', () => press(action.id));
      box.append(button);
    }
    part('actions').append(box);
  }
}

/**
 * @param {Snapshot | null} snapshot @param {string | null} barred @param {Set<string>} pending
 * @param {number | null} viewed    as in `refusal`
 */
export function showActions(snapshot, barred, pending, viewed) {
  for (const action of ACTIONS.values()) {
    const why = refusal(action, snapshot, barred, pending, viewed);
    const button = part(`action-${action.id}`);
    button.setAttribute('aria-disabled', String(why !== null));
    const hint = typeof action.hint === 'string' ? action.hint : snapshot ? action.hint(snapshot) : '';
    button.title = why === null ? hint : `${action.label}: ${why}`;
    write(`reason-${action.id}`, why ?? hint);
  }
}

/**
 * @param {ShownState} state @param {string} why @param {Snapshot | null} snapshot @param {boolean} contact
 * @param {boolean} blind    all pictures are old
 */
export function showState(state, why, snapshot, contact, blind) {
  const { word, icon, tone } = look(state);
  document.body.dataset.state = state;
  document.body.dataset.tone = tone;
  write('state', word);
  part('state-icon').setAttribute('href', `#icon-${icon}`);
  write('prompt', prompt(state, snapshot, contact, blind));
  write('why', why);
  part('why').title = why;
}

/** What an adapter's number says. @param {Snapshot['warmup']} warmup */
function versions({ episodes, frozen }) {
  const before = frozen ? 'it is the frozen policy itself' : 'it has learnt nothing yet';
  return `its number counts labelled episodes${episodes ? `; below v${episodes}, in the warm-up, ${before}` : ''}`;
}

/** @param {Snapshot} snapshot @param {ShownState} state */
export function showRun(snapshot, state) {
  write('title', snapshot.title);
  part('title').title = snapshot.briefing;
  part('briefing').hidden = snapshot.briefing === '';
  write('briefing', snapshot.briefing);
  write('method', snapshot.method.toUpperCase());
  write('run', snapshot.run);
  part('run').title = snapshot.run;
  write('pace', snapshot.pace);
  write('labels', snapshot.auto_label ? 'twin labels and resets' : 'you label and reset');
  write('episode', String(snapshot.episode));
  write('labelled', String(snapshot.curve.length));
  write('episodes-planned', `of ${snapshot.episodes_planned}`);
  write('step', state === 'READY' ? '–' : String(snapshot.step)); // it would be the last episode's
  write('max-steps', `of ${snapshot.max_steps}`);
  const { place } = snapshot;
  part('place-box').hidden = place === null;
  write('place', place ? String(place.index + 1) : '–');
  write('places', place ? `of ${place.places.length}` : '');
  part('place-box').title = place ? `episode ${place.repeat} of ${place.repeats} with the object there` : '';
  write('adapter', snapshot.adapter_version === 0 ? 'none' : `v${snapshot.adapter_version}`);
  part('adapter-box').title = versions(snapshot.warmup);
}

/**
 * @param {Safety} safety @param {ShownState} state @param {string | null} refused    why nothing may be cleared now
 * @param {(cause: string) => void} clear
 */
export function showCauses(safety, state, refused, clear) {
  const root = part('causes');
  // Nothing is commanded while paused: that this is late is no news, and no alarm.
  const causes = safety.causes.filter(({ kind }) => state !== 'PAUSED' || kind !== 'command_late');
  const key = JSON.stringify([causes, refused]);
  if (root.dataset.key === key) return;
  root.dataset.key = key;
  root.replaceChildren(...causes.map((cause) => {
    const row = make('div', 'cause');
    row.append(make('strong', '', cause.kind.replaceAll('_', ' ')), make('span', 'detail', cause.detail));
    if (cause.clears !== 'operator') {
      row.append(make('span', 'clears', `clears by itself: ${cause.clears}`));
      return row;
    }
    const button = make('button', 'clear', 'Clear');
    button.dataset.cause = cause.id;
    button.setAttribute('aria-disabled', String(refused !== null));
    button.title = refused ?? `clear ${cause.kind} (${cause.id}); the session lands in Paused`;
    button.addEventListener('click', () => clear(cause.id));
    row.append(make('span', 'clears', refused ?? 'lands in Paused, nothing moves'), button);
    return row;
  }));
}

/**
 * @param {import('./types').Standing | null} lease @param {boolean} contact
 * @param {boolean} alone    it goes on when nobody is in charge
 */
export function showLease(lease, contact, alone) {
  part('lease').hidden = !contact || lease === null || lease === 'yours';
  const robot = alone ? 'the twin goes on by itself' : 'the robot holds';
  write('lease-words', lease === "nobody's" ? `Nobody is in charge: ${robot}.` : 'Another page is in charge. STOP works here too.');
  write('take-over', lease === "nobody's" ? 'Take charge' : 'Take over');
}

/** @param {string[]} alarms */
export function showAlarms(alarms) {
  const root = part('alarms');
  const key = JSON.stringify(alarms);
  if (root.dataset.key === key) return;
  root.dataset.key = key;
  root.replaceChildren(...alarms.map((words) => {
    const row = make('div', 'cause');
    const detail = make('span', 'detail', words);
    detail.title = words;
    row.append(make('strong', '', 'alarm'), detail);
    return row;
  }));
}

/** @param {Snapshot} snapshot @param {Safety} safety */
export function showNumbers(snapshot, safety) {
  const newest = moving(snapshot.curve).at(-1);
  write('success', newest ? percent(newest.mean) : '–');
  const of = Math.min(newest?.n ?? 0, WINDOW);
  write('success-what', of === 0 ? 'no labelled episode yet' : of === 1 ? 'of one episode' : `last ${of} episodes`);
  write('success-interval', newest ? `${Math.round(100 * newest.low)} to ${percent(newest.high)}` : '');
  part('success-interval').title = '95 % Wilson score interval';
  const rate = perHour(snapshot.episodes);
  write('pace-of-episodes', rate === null ? '' : `${Math.round(rate)} per hour`);
  part('base-figure').hidden = snapshot.base_success === null;
  write('base', percent(snapshot.base_success ?? 0));
  part('base').title = snapshot.base_trials === null ? '' : `the frozen policy alone, ${snapshot.base_trials} trials`;
  const ends = baseInterval(snapshot);
  write('base-interval', ends ? `${Math.round(100 * ends[0])} to ${percent(ends[1])}` : '');
  part('base-interval').title = '95 % Wilson score interval';
  const base = snapshot.base_success === null ? '' : `; the frozen policy alone ${percent(snapshot.base_success)}`;
  part('curve').setAttribute('aria-label',
    newest ? `Success curve: ${percent(newest.mean)} over the last ${newest.n} episodes${base}` : 'Success curve: empty');

  const learner = snapshot.learner;
  part('learner').dataset.health = learner === null ? 'off' : learner.alive ? 'alive' : 'dead';
  write('learner-state', learner === null ? 'not running' : !learner.alive ? 'does not answer' : learner.updates === 0 ? 'no update yet' : 'learning');
  write('updates', learner === null ? '–' : learner.updates.toLocaleString('en'));
  write('utd', learner === null ? '–' : `${number(learner.utd_reached)} of ${number(learner.utd_wanted)}`);
  const reason = learner?.utd_reason ?? '';
  const speed = learner?.updates_per_second;
  write('utd-reason', reason);
  part('utd-reason').title = speed ? `${reason} (${number(speed)} updates/s)` : reason;
  const losses = Object.entries(learner?.losses ?? {}).slice(0, 3);
  const lines = losses.flatMap(([name, value]) => [make('dt', '', name.replaceAll('_', ' ')), make('dd', '', number(value))]);
  part('losses').replaceChildren(...lines);

  const { pass, clipped, held, rejected } = snapshot.verdicts;
  part('safety').dataset.level = safety.level;
  write('safety-level', safety.level);
  write('pass', pass.toLocaleString('en'));
  write('clipped', clipped.toLocaleString('en'));
  write('held', held.toLocaleString('en'));
  write('rejected', rejected.toLocaleString('en'));
  const { served, times } = snapshot.policy;
  write('policy-name', served ? 'policy server' : 'policy call');
  write('policy-ms', times === null ? '–' : `${number(times.p50_ms)} ms`);
  part('policy-ms').title = times === null ? 'no chunk was asked for yet'
    : `median of the newest ${times.trips} chunks, encode and decode, ${served ? 'to the server and back' : 'in this process'}; 95 % take ${number(times.p95_ms)} ms at most`;
}
