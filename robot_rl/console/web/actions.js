// @ts-check
// The buttons: their keys, the command each sends, and the reason when it may not be sent now.

import { uniqueId } from './ids.js';
import { goesOn } from './states.js';

/** @typedef {import('./types').Snapshot} Snapshot */

/**
 * @typedef {object} Action
 * @property {string} id
 * @property {string} command    what the service calls it
 * @property {string} label
 * @property {string | null} key    null: it lets the robot move, so it takes a deliberate click
 * @property {string | ((snapshot: Snapshot) => string)} hint    shown under the label while it may be used
 * @property {(snapshot: Snapshot) => Record<string, unknown>} args
 */

/** @param {Snapshot} snapshot */
const labelled = (snapshot) => snapshot.awaiting_label ?? snapshot.episode;

/**
 * The episode whose label was given or corrected last, which is what `undo` is about: revisions rise over the whole run.
 * @param {Snapshot} snapshot
 * @returns {import('./types').EpisodeRow | null}
 */
export function lastLabelled(snapshot) {
  const labelled = snapshot.episodes.filter((row) => row.label !== null);
  const [first] = labelled;
  if (!first) return null;
  return labelled.reduce((last, row) => ((row.revision ?? 0) > (last.revision ?? 0) ? row : last), first);
}

/** Why there is nothing to undo, or null. @param {Snapshot} snapshot */
function undoBarred(snapshot) {
  if (storing(snapshot)) return 'a moment: it is stored';
  const row = lastLabelled(snapshot);
  if (row === null) return 'no label yet';
  // A first label is taken back where its episode is asked for again: with another one under way, it would be lost.
  const present = row.episode === snapshot.episode && row.complete && snapshot.phase !== 'finished';
  return present || row.corrected ? null : `to correct ${row.episode}, click it`;
}

/** The present episode has just ended and is not listed yet: `undo` would be of the one before. @param {Snapshot} snapshot */
function storing({ phase, episode, episodes }) {
  return phase === 'homing' && !episodes.some((row) => row.episode === episode);
}

/** Which label `undo` would take back, or give again. @param {Snapshot} snapshot */
function undoing(snapshot) {
  const row = lastLabelled(snapshot);
  if (row === null) return 'no label yet';
  if (row.episode === snapshot.awaiting_label) return `label ${row.episode} as before`; // it was taken back
  return `${row.label} of ${row.episode}`;
}

/** @param {'success' | 'failure' | 'discard'} value */
const label = (value) => (/** @type {Snapshot} */ snapshot) => ({
  episode: labelled(snapshot), value, event_id: uniqueId(),
});

/** @type {Action[][]} */
export const GROUPS = [
  [
    { id: 'arm', command: 'arm', label: 'Arm', key: null, hint: 'allow motion', args: () => ({}) },
    { id: 'run', command: 'run', label: 'Run', key: null, hint: goesOn, args: () => ({}) },
    { id: 'pause', command: 'pause', label: 'Pause', key: 'p', hint: 'hold the pose', args: () => ({}) },
    { id: 'end', command: 'end', label: 'End', key: 'e', hint: 'end the episode', args: () => ({}) },
  ],
  [
    { id: 'success', command: 'label', label: 'Success', key: '1', hint: 'it did it', args: label('success') },
    { id: 'failure', command: 'label', label: 'Failure', key: '0', hint: 'it did not', args: label('failure') },
    { id: 'discard', command: 'label', label: 'Discard', key: 'd', hint: 'never train on it', args: label('discard') },
  ],
  [
    { id: 'reset_done', command: 'reset_done', label: 'Reset done', key: 'r', hint: 'next episode', args: () => ({}) },
    {
      id: 'undo', command: 'undo', label: 'Undo', key: 'u', hint: undoing,
      args: (snapshot) => ({ episode: lastLabelled(snapshot)?.episode }),
    },
  ],
];

export const ACTIONS = new Map(GROUPS.flat().map((action) => [action.id, action]));

/**
 * Why this page may give no command at all but STOP; null if it may.
 * @param {import('./link').Link} link
 * @returns {string | null}
 */
export function barrier(link) {
  if (link.trouble !== null) return 'no contact';
  return link.lease === 'yours' ? null : 'this page only watches';
}

/** What each of them is about changes with the others: until one is acknowledged, the page would name the wrong episode. */
const ONE_BY_ONE = ['label', 'undo', 'reset_done'];

/**
 * The command that must be acknowledged before `command` is sent, or undefined.
 * @param {string} command
 * @param {Set<string>} pending    commands not acknowledged yet
 */
export function before(command, pending) {
  return (ONE_BY_ONE.includes(command) ? ONE_BY_ONE : [command]).find((name) => pending.has(name));
}

/**
 * Why `action` may not be used now; null if it may.
 * @param {Action} action
 * @param {Snapshot | null} snapshot
 * @param {string | null} barred    why nothing may be
 * @param {Set<string>} pending    commands not acknowledged yet
 * @param {number | null} viewed    the episode whose recorded pictures are looked at
 * @returns {string | null}
 */
export function refusal(action, snapshot, barred, pending, viewed) {
  if (!snapshot || barred !== null) return barred ?? 'no contact';
  if (before(action.command, pending)) return 'sending …';
  const undo = action.id === 'undo' ? undoBarred(snapshot) : null;
  if (undo !== null) return undo;
  const why = snapshot.allowed[action.command];
  if (why === undefined) return 'not offered by this run';
  const another = action.command === 'label' && viewed !== null && viewed !== labelled(snapshot);
  return why === null && another ? `${viewed} is shown: close it (v), then label ${labelled(snapshot)}` : why;
}
