// @ts-check
// Wires the page together: what the link says becomes what is shown, what is pressed becomes what the link sends.

import { ACTIONS, barrier, before, refusal } from './actions.js';
import { CameraWall } from './cameras.js';
import { Again } from './again.js';
import { choice } from './choice.js';
import { Curve } from './curve.js';
import { EpisodeList } from './episodes.js';
import { Help } from './help.js';
import { uniqueId } from './ids.js';
import { intent } from './keys.js';
import { Learning } from './learning.js';
import { Link } from './link.js';
import { Notice } from './notice.js';
import { alone, look, moment } from './states.js';
import { buildActions, part, showActions, showAlarms, showCauses, showLease, showNumbers, showRun, showState } from './view.js';

/** @typedef {import('./types').Snapshot} Snapshot */
/** @typedef {import('./types').Safety} Safety */
/** @typedef {import('./types').ShownState} ShownState */

const MESSAGE_MS = { good: 3000, bad: 5000 };

const link = new Link();
/** @type {Snapshot | null} */
let snapshot = null;
/** The guard's word on our own STOP: shown before the actor has heard of it. @type {Safety | null} */
let guardWord = null;
/** @type {'no' | 'asked' | 'unconfirmed'} */
let stopping = 'no';
/** @type {ShownState} */
let shown = 'CONNECTING';
/** Commands not acknowledged yet. @type {Set<string>} */
const pending = new Set();

const help = new Help(part('help'), part('help-open'), part('help-close'));
const again = new Again((words) => say(words, 'bad'), () => setTimeout(render));
const notice = new Notice(part('notice'));
const cameras = new CameraWall(part('cameras'), () => setTimeout(render));
const curve = new Curve(/** @type {HTMLCanvasElement} */ (part('curve')));
const learning = new Learning();
const episodes = new EpisodeList(part('episodes'), (row, value) => send('label', {
  episode: row.episode, value, event_id: uniqueId(), expected_revision: row.revision,
}, `Episode ${row.episode}: ${value}`), view);

function render() {
  const contact = link.trouble === null;
  const word = guardWord && (!snapshot || guardWord.epoch > snapshot.safety.epoch) ? guardWord : null;
  const safety = word ?? snapshot?.safety;
  const { state, why } = moment(snapshot, word, link.trouble, stopping);
  showState(state, why, snapshot, contact, cameras.blind);
  shown = state === 'READY' ? 'RUNNING' : state; // the moment before an episode is of it
  if (saidIn !== null && saidIn !== shown) hush();
  notice.show(state, [look(state).word, snapshot?.title].filter(Boolean).join(' · '), snapshot?.auto_label ?? true);
  const barred = barrier(link);
  showLease(link.lease, contact, alone(snapshot, state));
  showActions(snapshot, barred, pending, again.episode);
  const refused = barred ?? snapshot?.allowed.clear ?? null;
  if (safety) showCauses(safety, state, refused, (cause) => send('clear', { cause_id: cause }, 'Cleared'));
  if (live()) again.moves();
  if (!snapshot || !safety) return;
  showRun(snapshot, state);
  showNumbers(snapshot, safety);
  showAlarms(snapshot.alarms);
  cameras.show(snapshot.cameras, snapshot.place, state === 'AWAIT_RESET');
  curve.show(snapshot);
  episodes.show(snapshot.episodes, snapshot.learner, snapshot.awaiting_label);
  learning.show(snapshot);
}

function showLink() {
  const chip = part('link');
  const trouble = link.trouble ?? link.guard;
  if (link.trouble !== null && snapshot?.state === 'FINISHED') {
    chip.dataset.health = 'over';
    chip.title = link.trouble;
    chip.textContent = 'run over';
    return;
  }
  chip.dataset.health = trouble === null ? 'good' : 'bad';
  chip.title = trouble ?? 'heartbeat to the guard and back';
  const heard = link.lease === 'yours' ? `guard ${Math.max(1, Math.round(link.roundTrip ?? 0))} ms` : 'watching';
  chip.textContent = trouble === null ? heard : 'guard silent';
}

let messageTimer = 0;
/** Where something was done: it is old news as soon as that changes. @type {ShownState | null} */
let saidIn = null;

function hush() {
  saidIn = null;
  part('message').textContent = '';
}

/** @param {string} text @param {'good' | 'bad'} kind */
function say(text, kind) {
  const message = part('message');
  message.textContent = text;
  message.dataset.kind = kind;
  saidIn = kind === 'good' ? shown : null;
  clearTimeout(messageTimer);
  messageTimer = setTimeout(hush, MESSAGE_MS[kind]);
}

/** Whether the live pictures must be seen: a person is beside what moves. */
const live = () => !snapshot?.auto_label && ['RUNNING', 'HOMING'].includes(shown);

/** Show recorded pictures of `episode`; null: of the newest. @param {number | null} episode */
function view(episode) {
  const wanted = episode ?? snapshot?.episodes.reduce((newest, row) => Math.max(newest, row.episode), 0);
  if (episode === null && again.episode !== null) again.close();
  else if (!snapshot || !wanted) say('No episode is recorded yet', 'bad');
  else if (live()) say('View it again when nothing moves', 'bad');
  else again.toggle(wanted, cameras.main);
}

/** @typedef {import('./types').Ack} Ack */
/** @param {string} name @param {Record<string, unknown>} args @param {string | ((ack: Ack) => string)} done */
async function send(name, args, done) {
  const awaited = before(name, pending);
  if (awaited) {
    say(`Not sent: ${awaited.replaceAll('_', ' ')} is not acknowledged yet; try again`, 'bad');
    return;
  }
  pending.add(name);
  render();
  const ack = await link.command(name, args);
  pending.delete(name);
  const outcome = typeof done === 'string' ? done : done(ack);
  say(ack.ok ? outcome : `${ack.status ? 'Refused' : 'Not acknowledged'}: ${ack.detail}`, ack.ok ? 'good' : 'bad');
  render();
}

/** @param {string} id */
function press(id) {
  const action = ACTIONS.get(id);
  if (!action) return;
  const why = refusal(action, snapshot, barrier(link), pending, again.episode);
  if (why !== null || !snapshot) {
    say(`${action.label}: ${why}`, 'bad');
    return;
  }
  const args = action.args(snapshot);
  const subject = 'episode' in args ? `episode ${args.episode}: ` : '';
  send(action.command, args, ({ result }) => `${subject}${id === 'undo' ? undone(args.episode, result?.value) : action.label.toLowerCase()}`);
}

/** What an undo has left of the label; the snapshot shows it already. @param {unknown} episode @param {unknown} value */
function undone(episode, value) {
  const asked = snapshot?.episode === episode && snapshot?.allowed.label === null;
  return value === 'discard' && asked ? 'label taken back' : `${value} again`;
}

async function stop() {
  if (stopping === 'asked') return;
  const answer = link.stop(); // sent before anything is drawn
  stopping = 'asked';
  render();
  const safety = await answer;
  stopping = safety ? 'no' : 'unconfirmed';
  guardWord = safety ?? guardWord;
  render();
}

link.onSnapshot = (/** @type {Snapshot} */ newest) => {
  const another = snapshot && (newest.run !== snapshot.run || newest.revision < snapshot.revision);
  if (another) guardWord = null; // another actor: it has asked its guard itself
  snapshot = newest;
  if (stopping === 'unconfirmed' && (newest.safety.level === 'STOP' || newest.safety.level === 'FAULT')) stopping = 'no';
  render();
};
link.onChange = render;
link.onLease = (/** @type {import('./types').Standing} */ lease) => {
  if (link.lease === 'yours' && lease !== 'yours') say('Another page took over: this one watches', 'bad');
};

buildActions(press);
part('no-vr').hidden = isSecureContext;
choice('axis', { episode: part('by-episode'), minute: part('by-minute') }, (axis) => curve.by(axis === 'minute' ? 'minute' : 'episode'));
choice('view', { run: part('show-run'), learning: part('show-learning') }, (view) => {
  part('view-run').hidden = view !== 'run';
  part('view-learning').hidden = view !== 'learning';
});
part('take-over').addEventListener('click', () => send('take_over', {}, 'This page is in charge; what moved is paused'));
part('stop').addEventListener('click', stop);
addEventListener('click', (event) => {
  // A clicked button keeps no focus: a stray space bar must not press Run again an hour later.
  if (event.detail > 0 && document.activeElement instanceof HTMLButtonElement) document.activeElement.blur();
});
addEventListener('keydown', (event) => {
  if (event.repeat && event.key === 'Enter') event.preventDefault(); // a held Enter is one press of the focused button
  const wanted = intent(event);
  if (wanted === null) return;
  event.preventDefault();
  if (wanted === 'stop') stop();
  else if (wanted === 'help') help.toggle();
  else if (wanted === 'again') view(null);
  else press(wanted);
}, { capture: true });
setInterval(showLink, 500);
render();
link.start();
