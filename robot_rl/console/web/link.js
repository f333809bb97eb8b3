// @ts-check
// The control connection: heartbeat, commands with acknowledgement, snapshots, and STOP by whatever way is open.

import { uniqueId } from './ids.js';

/** @typedef {import('./types').Snapshot} Snapshot */
/** @typedef {import('./types').Ack} Ack */
/** @typedef {import('./types').Safety} Safety */

const BEAT_MS = 100;
const SILENT_MS = 600; // no beat came back: what is on the page is no longer to be believed
const RECONNECT_MS = 500;
const STOP_PATIENCE_MS = 150; // then STOP also goes by POST
const COMMAND_PATIENCE_MS = 6000;

export class Link {
  constructor() {
    /** @type {(snapshot: Snapshot) => void} */
    this.onSnapshot = () => {};
    /** @type {() => void} */
    this.onChange = () => {};
    /** Why there is no contact, or null. @type {string | null} */
    this.trouble = 'connecting';
    /** Why the guard does not hear this page, or null. @type {string | null} */
    this.guard = null;
    /** Milliseconds to the guard and back. @type {number | null} */
    this.roundTrip = null;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.lastBeat = 0;
    this.lastSent = 0;
    this.lost = /** @type {string | null} */ (null);
    /** What a snapshot leaves out where it has not changed. @type {Pick<Snapshot, 'episodes' | 'curve'>} */
    this.lists = { episodes: [], curve: [] };
    /** Who is in charge; unknown before the first word. @type {import('./types').Standing | null} */
    this.lease = null;
    /** @type {(lease: import('./types').Standing) => void} */
    this.onLease = () => {};
    /** @type {Map<string, (ack: Ack) => void>} */
    this.waiting = new Map();
  }

  start() {
    this.connect();
    // On the main thread on purpose: a page that cannot take a key press must not renew the operator's deadline.
    setInterval(() => this.beat(), BEAT_MS);
    document.addEventListener('visibilitychange', () => { this.lastBeat = performance.now(); });
  }

  connect() {
    // One that watched goes on watching, also when the service was started again.
    const wish = this.lease === null || this.lease === 'yours' ? '' : '?watch';
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws/control${wish}`);
    this.socket = socket;
    let opened = false;
    socket.addEventListener('open', () => {
      opened = true;
      this.lastBeat = performance.now();
    });
    socket.addEventListener('message', (event) => this.receive(JSON.parse(event.data)));
    socket.addEventListener('close', async () => {
      const locked = !opened && await lockedOut();
      if (this.socket !== socket) return;
      this.socket = null;
      this.update(locked ? 'this page needs a new one-time link' : 'the console’s service does not answer');
      setTimeout(() => this.connect(), RECONNECT_MS);
    });
  }

  /** @param {any} message */
  receive(message) {
    if (message.type === 'snapshot') {
      this.lost = null;
      this.update(null);
      const { episodes, curve } = message.snapshot;
      if (episodes) this.lists = { episodes, curve }; // left out where they have not changed
      this.onSnapshot({ ...message.snapshot, ...this.lists });
    } else if (message.type === 'lost') {
      this.lost = message.detail;
      this.update(message.detail);
    } else if (message.type === 'lease') {
      this.onLease(message.lease);
      this.lease = message.lease;
      this.onChange();
    } else if (message.type === 'ack') {
      this.waiting.get(message.id)?.(message);
    } else if (message.type === 'beat') {
      this.lastBeat = performance.now();
      this.roundTrip = this.lastBeat - message.t;
      this.guard = message.guard;
    }
  }

  beat() {
    if (this.socket?.readyState !== WebSocket.OPEN || document.hidden) return; // hidden: nobody watches the robot
    const now = performance.now();
    const slow = now - this.lastSent > 3 * BEAT_MS; // it was this page that hung: answers may be waiting to be read
    this.lastSent = now;
    this.socket.send(JSON.stringify({ type: 'beat', t: now }));
    if (slow) return;
    this.update(now - this.lastBeat > SILENT_MS ? 'the console’s service is silent' : this.lost);
  }

  /** @param {string | null} trouble */
  update(trouble) {
    if (this.trouble === trouble) return;
    this.trouble = trouble;
    this.onChange();
  }

  /**
   * Send one command; the promise always resolves, with the service's answer or the reason there is none.
   * @param {string} name
   * @param {Record<string, unknown>} args
   * @param {number} [patience]
   * @returns {Promise<Ack>}
   */
  command(name, args, patience = COMMAND_PATIENCE_MS) {
    const id = uniqueId();
    const socket = this.socket;
    return new Promise((resolve) => {
      const settle = (/** @type {Ack} */ ack) => {
        clearTimeout(timer);
        this.waiting.delete(id);
        socket?.removeEventListener('close', broken);
        resolve(ack);
      };
      const refuse = (/** @type {string} */ detail) => settle({ type: 'ack', id, ok: false, detail });
      const broken = () => refuse('the connection broke; look at the state before you try again');
      const timer = setTimeout(() => refuse('no answer; look at the state before you try again'), patience);
      if (socket?.readyState !== WebSocket.OPEN) {
        refuse('no contact with the console’s service');
        return;
      }
      this.waiting.set(id, settle);
      if (name !== 'stop') socket.addEventListener('close', broken); // STOP goes by POST when its patience ends
      socket.send(JSON.stringify({ type: 'command', id, name, args }));
    });
  }

  /**
   * Stop the robot: over the socket, and by POST when that is not confirmed at once.
   * @returns {Promise<Safety | null>} the guard's word, or null if nobody confirmed
   */
  async stop() {
    const ack = await this.command('stop', {}, STOP_PATIENCE_MS);
    if (ack.ok) return /** @type {Safety} */ (/** @type {unknown} */ (ack.result));
    try {
      const response = await fetch('/api/stop', { method: 'POST', signal: AbortSignal.timeout(2000) });
      return response.ok ? await response.json() : null;
    } catch {
      return null; // the page says so, in its largest letters
    }
  }
}

/** Whether the service answers, but not to this browser: a socket that is refused does not say why. */
async function lockedOut() {
  try {
    const response = await fetch('/', { method: 'HEAD', signal: AbortSignal.timeout(RECONNECT_MS) });
    return response.status === 401;
  } catch {
    return false;
  }
}
