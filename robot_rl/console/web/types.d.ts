// What the actor tells the page, and what the page adds to it. Checked by `tsc --checkJs`; nothing here runs.

export type State =
  | 'DISARMED' | 'PAUSED' | 'RUNNING' | 'HOMING' | 'AWAIT_LABEL' | 'AWAIT_RESET' | 'STOPPED' | 'FAULT' | 'FINISHED';

/** Where in its episode a run is, whatever holds it up (`robot_rl.control.progress`). */
export type Phase = 'ready' | 'episode' | 'homing' | 'label' | 'reset' | 'finished';

/** What the page itself may have to say instead. */
export type ShownState = State | 'READY' | 'CONNECTING' | 'NO_CONTACT' | 'STOPPING' | 'STOP_UNCONFIRMED';

export interface Cause {
  id: string;
  kind: string;
  level: string;
  detail: string;
  /** "operator" for a latched cause, else the condition in words. */
  clears: string;
}

export interface Safety {
  level: 'OK' | 'HOLD' | 'STOP' | 'FAULT';
  epoch: number;
  causes: Cause[];
}

export interface Learner {
  alive: boolean;
  updates: number;
  version: number;
  utd_wanted: number;
  utd_reached: number | null;
  utd_reason?: string;
  updates_per_second?: number | null;
  losses: Record<string, number | null>;
  label_watermark: number;
}

/** Where chunks would take the hand: [first axis, second axis] in mm, a point each. */
export type Cloud = [number, number][];

/** Chunks before and after steering, drawn at the first observation of `episode` (`robot_rl.control.scatter`). */
export interface Scatter {
  episode: number;
  adapter_version: number;
  /** Of the base frame. */
  axes: [string, string];
  /** By the frozen policy's own noise. */
  base: Cloud;
  /** By the noise or the latent that the adapter chose. */
  steered: Cloud;
  /** These and the adapter's residual; null if they are the same. */
  final: Cloud | null;
  /** RMS distance from their middle, in all three axes. */
  base_spread_mm: number;
  final_spread_mm: number;
  /** How far the middle of what is sent is from that of the frozen policy's. */
  moved_mm: number;
}

/** One episode, measured (`robot_rl.control.effect`); null: there is no such thing in it. */
export interface Effect {
  episode: number;
  adapter_version: number;
  chunks: number;
  /** 1 for the frozen policy's own N(0, I). */
  noise_rms: number | null;
  /** RMS length of a control step's. */
  residual_mm: number | null;
  latent_shift: number | null;
  latent_rms: number | null;
  /** Of the hand as it was sent, means over control steps. */
  speed_m_s: number | null;
  acceleration_m_s2: number | null;
}

export interface Frozen {
  episodes: number;
  speed_m_s: number | null;
  acceleration_m_s2: number | null;
}

/** Where an evaluation's object is put in this episode, or in the next one while a reset is awaited. */
export interface Place {
  /** From 0. */
  index: number;
  /** Which of the `repeats` episodes at this place it is, from 1. */
  repeat: number;
  repeats: number;
  /** Of each place in turn, m in the base frame. */
  places: { x: number; y: number }[];
  /** Camera -> where each place is in its pictures, 0 to 1 from the left and from the top; null: not in them. */
  marks: Record<string, ([number, number] | null)[]>;
}

export interface EpisodeRow {
  episode: number;
  label: 'success' | 'failure' | 'discard' | null;
  author: string | null;
  adapter_version: number;
  steps: number;
  ended_by: string;
  /** False: it was cut off, is never learnt from, and counts for nothing. */
  complete: boolean;
  /** Seconds since 1970. */
  started_wall_s: number;
  revision: number | null;
  /** There is an earlier label, which an undo gives again. */
  corrected: boolean;
}

export interface Snapshot {
  revision: number;
  state: State;
  phase: Phase;
  why: string;
  task: string;
  title: string;
  /** What counts as success and how the object is put back; empty if nobody has written it. */
  briefing: string;
  method: string;
  run: string;
  pace: string;
  episode: number;
  episodes_planned: number;
  step: number;
  max_steps: number;
  adapter_version: number;
  auto_label: boolean;
  /** It puts its own objects back. */
  twin: boolean;
  awaiting_label: number | null;
  safety: Safety;
  verdicts: { pass: number; clipped: number; held: number; rejected: number };
  learner: Learner | null;
  /** Of the policy's newest chunks, encode and decode: how many, and how long they took. `served`: by a server. */
  policy: { served: boolean; times: { trips: number; p50_ms: number; p95_ms: number } | null };
  /** Adapter versions below `episodes` have learnt nothing; `frozen`: they are the frozen policy itself. */
  warmup: { episodes: number; frozen: boolean };
  /** The newest measured episode, and the frozen policy's (adapters of the warm-up) since this process began. */
  effect: { newest: Effect | null; frozen: Frozen | null };
  scatter: Scatter | null;
  /** null: the object is put anywhere. */
  place: Place | null;
  /** 0 to 1, over `base_trials` trials of the frozen policy alone. */
  base_success: number | null;
  base_trials: number | null;
  /** Names the two that grow with the run: others have another name. */
  lists: string;
  /** [episode, 0 or 1], oldest first. */
  curve: [number, 0 | 1][];
  episodes: EpisodeRow[];
  cameras: string[];
  /** What is wrong with the run's files, in words. */
  alarms: string[];
  /** Command -> null if it may be given now, else why not. */
  allowed: Record<string, string | null>;
}

/** Who is in charge of the robot, as a page is told. */
export type Standing = 'yours' | "another's" | "nobody's";

export interface Ack {
  type: 'ack';
  id: string;
  ok: boolean;
  status?: number;
  detail?: string;
  result?: Record<string, unknown>;
}

/** Sent by a camera's worker for every frame it has drawn. */
export interface FrameNews {
  seq: number;
  /** Age in ms when the service sent it. */
  age_ms: number;
  /** `performance.timeOrigin + performance.now()` on arrival. */
  arrived: number;
  width: number;
  height: number;
}

/** A recorded episode (`robot_rl.console.recording`); times in s since its first message. */
export interface Recording {
  task: string;
  method: string;
  episode: number;
  adapter_version: number;
  ended_by: string;
  label: string | null;
  seconds: number;
  steps: RecordedStep[];
  safety: { t: number; level: string; causes: string[] }[];
  /** Chunks that were refused as a whole. */
  rejected: { t: number; reason: string }[];
  /** Camera -> when its frames were taken. */
  cameras: Record<string, number[]>;
}

export interface RecordedStep {
  t: number;
  chunk: number;
  row: number;
  verdict: string;
  reason: string;
  /** SI: asked for, and what the guard let through. */
  target: number[];
  sent: number[];
  /** m, after the step. */
  tcp: number[];
  gripper: number;
}
