// @ts-check
// What each state is called, how it looks without colour, and what the person beside the robot does about it.

/** @typedef {import('./types').ShownState} ShownState */
/** @typedef {import('./types').Snapshot} Snapshot */

/** @type {Record<ShownState, {word: string, icon: string, tone: string}>} */
const LOOKS = {
  CONNECTING: { word: 'Connecting', icon: 'link', tone: 'idle' },
  NO_CONTACT: { word: 'No contact', icon: 'link', tone: 'alarm' },
  DISARMED: { word: 'Disarmed', icon: 'lock', tone: 'idle' },
  PAUSED: { word: 'Paused', icon: 'pause', tone: 'calm' },
  RUNNING: { word: 'Running', icon: 'play', tone: 'go' },
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
 * One sentence for the person: what happens now, or what is wanted of them.
 * @param {ShownState} state
 * @param {Snapshot | null} snapshot
 * @returns {string}
 */
export function prompt(state, snapshot) {
  const auto = snapshot?.auto_label ?? false;
  switch (state) {
    case 'CONNECTING': return 'Looking for the robot’s service.';
    case 'NO_CONTACT': return 'State and numbers are old. If in doubt, press Esc.';
    case 'DISARMED': return auto ? 'The twin arms itself.' : 'The robot will not move. Look at the workspace, then Arm.';
    case 'PAUSED': return 'The robot holds its pose. Run goes on.';
    case 'RUNNING': return auto ? 'The policy moves the twin.' : 'The policy moves the robot. Keep your hands out.';
    case 'HOMING': return 'The arm retreats. Keep your hands out.';
    case 'AWAIT_LABEL':
      return auto ? 'The twin’s ground truth labels this episode.'
        : `Episode ${snapshot?.awaiting_label}: did it succeed? Press 1 or 0.`;
    case 'AWAIT_RESET': return auto ? 'The twin resets its scene.' : 'Put the object back, then press r.';
    case 'STOPPING': return 'Waiting for the guard’s word.';
    case 'STOPPED': return 'Latched: it stays stopped until you clear the cause below.';
    case 'STOP_UNCONFIRMED': return 'The guard did not confirm. Use the hardware e-stop now.';
    case 'FAULT': return 'The robot reports an error. Mend it, then clear the cause below.';
    case 'FINISHED': return 'All planned episodes are done.';
    default: return '';
  }
}
