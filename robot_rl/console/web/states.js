// @ts-check
// What each state is called, how it looks without colour, and what the person beside the robot does about it.

/** @typedef {import('./types').ShownState} ShownState */
/** @typedef {import('./types').Snapshot} Snapshot */
/** @typedef {import('./types').Safety} Safety */

/** @type {Record<ShownState, {word: string, icon: string, tone: string}>} */
const LOOKS = {
  CONNECTING: { word: 'Connecting', icon: 'link', tone: 'idle' },
  NO_CONTACT: { word: 'No contact', icon: 'link', tone: 'alarm' },
  DISARMED: { word: 'Disarmed', icon: 'lock', tone: 'idle' },
  PAUSED: { word: 'Paused', icon: 'pause', tone: 'calm' },
  RUNNING: { word: 'Running', icon: 'play', tone: 'go' },
  READY: { word: 'Ready', icon: 'hourglass', tone: 'calm' },
  HOMING: { word: 'Homing', icon: 'home', tone: 'calm' },
  AWAIT_LABEL: { word: 'Await label', icon: 'question', tone: 'ask' },
  AWAIT_RESET: { word: 'Await reset', icon: 'reset', tone: 'ask' },
  STOPPING: { word: 'Stopping', icon: 'stop', tone: 'alarm' },
  STOPPED: { word: 'Stopped', icon: 'stop', tone: 'alarm' },
  STOP_UNCONFIRMED: { word: 'Not stopped?', icon: 'warning', tone: 'alarm' },
  FAULT: { word: 'Fault', icon: 'warning', tone: 'alarm' },
  FINISHED: { word: 'Finished', icon: 'flag', tone: 'idle' },
};

/** @param {ShownState} state */
export function look(state) {
  return LOOKS[state] ?? { word: state, icon: 'question', tone: 'idle' };
}

/**
 * What is latched: the guard is the last authority, also over a session that lags.
 * @param {Safety} safety
 * @returns {{state: ShownState, why: string} | null}
 */
function latched(safety) {
  if (safety.level !== 'STOP' && safety.level !== 'FAULT') return null;
  const [worst] = safety.causes;
  const why = worst ? `${worst.kind.replaceAll('_', ' ')}: ${worst.detail}` : '';
  return { state: safety.level === 'FAULT' ? 'FAULT' : 'STOPPED', why };
}

/**
 * What the page calls the moment, and why it is so.
 * @param {Snapshot | null} snapshot
 * @param {Safety | null} word    the guard's, on our own STOP, where it is newer than the snapshot
 * @param {string | null} trouble    why there is no contact
 * @param {'no' | 'asked' | 'unconfirmed'} stopping
 * @returns {{state: ShownState, why: string}}
 */
export function moment(snapshot, word, trouble, stopping) {
  if (stopping === 'unconfirmed') return { state: 'STOP_UNCONFIRMED', why: trouble ?? '' };
  if (stopping === 'asked') return { state: 'STOPPING', why: '' };
  const stopped = word && latched(word);
  if (stopped) return stopped;
  if (!snapshot) return { state: 'CONNECTING', why: trouble ?? '' };
  // A run that was over when it was heard of last has ended its service: that is no alarm.
  if (trouble !== null) return { state: snapshot.state === 'FINISHED' ? 'FINISHED' : 'NO_CONTACT', why: trouble };
  // An episode that may be ended is one that runs; between two of them a run waits, for its learner or itself.
  const waits = snapshot.state === 'RUNNING' && (snapshot.allowed.end ?? null) !== null;
  return latched(snapshot.safety) ?? { state: waits ? 'READY' : snapshot.state, why: snapshot.why };
}

/** Whether it goes on when nobody is in charge. @param {Snapshot | null} snapshot @param {ShownState} state */
export function alone(snapshot, state) {
  return (snapshot?.auto_label ?? false) && !['PAUSED', 'STOPPED', 'FAULT', 'FINISHED'].includes(state);
}

/** Where the object goes. @param {Snapshot | null} snapshot */
function whereTo(snapshot) {
  const place = snapshot?.place;
  const at = place?.places[place.index];
  if (!place || !at) return 'Put the object back';
  return `Object to place ${place.index + 1} (x ${at.x.toFixed(2)}, y ${at.y.toFixed(2).replace('-', '−')} m)`;
}

/** By where the run stands. @type {Record<import('./types').Phase, string>} */
const GOES_ON = {
  ready: 'the episode begins', episode: 'the episode goes on', homing: 'the arm retreats',
  label: 'it asks for the label', reset: 'it asks for the reset', finished: 'all is done',
};

/** What `run` leads to. @param {Snapshot | null} snapshot */
export const goesOn = (snapshot) => GOES_ON[snapshot?.phase ?? 'ready'];

/** An episode that was cut off counts for nothing, where anything is learnt. @param {Snapshot | null} snapshot */
function counts(snapshot) {
  const row = snapshot?.episodes.find(({ episode }) => episode === snapshot.episode);
  return !row || row.complete || snapshot?.learner === null;
}

/** What is said of the end. @param {Snapshot | null} snapshot @param {boolean} contact */
function finished(snapshot, contact) {
  if (!contact) return 'All done. The run has ended, or cannot be reached.';
  return snapshot?.learner ? 'All done. The learner finishes, then the run ends.' : 'All done. The run ends by itself.';
}

/**
 * One sentence for the person: what happens now, or what is wanted of them.
 * @param {ShownState} state
 * @param {Snapshot | null} snapshot
 * @param {boolean} contact
 * @param {boolean} blind    all pictures are old
 * @returns {string}
 */
export function prompt(state, snapshot, contact, blind) {
  const auto = snapshot?.auto_label ?? false;
  const hands = auto ? '' : ' Keep your hands out.';
  switch (state) {
    case 'CONNECTING': return 'Looking for the robot’s service.';
    case 'NO_CONTACT': return 'State and numbers are old. If in doubt, press Esc.';
    case 'DISARMED': return auto ? 'The twin arms itself.' : 'Nothing moves. Look at the workspace, then Arm.';
    case 'PAUSED': return `The robot holds its pose. Run: ${goesOn(snapshot)}.`;
    case 'RUNNING':
      if (snapshot?.safety.level === 'HOLD') return `Held by the guard; goes on by itself.${hands}`;
      if (blind && !auto) return 'The pictures are old: watch the robot itself, or press Esc.';
      return `The policy moves the ${auto ? 'twin' : 'robot'}.${hands}`;
    case 'READY': return `The next episode begins by itself.${hands}`;
    case 'HOMING':
      return !auto && snapshot?.allowed.label === null ? 'Hands out: the arm retreats. Did it succeed? 1 or 0.' : `The arm retreats.${hands}`;
    case 'AWAIT_LABEL':
      return auto ? 'The twin’s ground truth labels this episode.'
        : `Episode ${snapshot?.awaiting_label}: did it succeed? Press 1 or 0.`;
    case 'AWAIT_RESET':
      if (auto) return 'The twin resets its scene.';
      return (counts(snapshot) ? '' : `Episode ${snapshot?.episode} does not count. `)
        + (snapshot?.twin ? 'Press r: the twin resets its scene.' : `${whereTo(snapshot)}, then press r.`);
    case 'STOPPING': return 'Waiting for the guard’s word.';
    case 'STOPPED': return 'Latched: it stays stopped until you clear the cause below.';
    case 'STOP_UNCONFIRMED': return 'The guard did not confirm. Use the hardware e-stop now.';
    case 'FAULT': return 'Mend what the cause below says, then clear it.';
    case 'FINISHED': return finished(snapshot, contact);
    default: return '';
  }
}
