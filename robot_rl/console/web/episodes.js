// @ts-check
// The episode list, newest first. Choosing a row offers the three labels: a correction names the revision it replaces.

/** @typedef {import('./types').EpisodeRow} EpisodeRow */
/** @typedef {import('./types').Learner} Learner */
/** @typedef {'success' | 'failure' | 'discard'} Value */

/** @type {Record<string, {mark: string, word: string}>} */
const LABELS = {
  success: { mark: '✓', word: 'success' },
  failure: { mark: '✕', word: 'failure' },
  discard: { mark: '–', word: 'discarded' },
};

/** How it ended, where its label does not say that. @type {Record<string, string>} */
const ENDED = {
  timeout: 'time limit', operator: 'ended by hand', success: 'seen as success', failure: 'seen as failure',
  fault: 'fault: not learnt from', aborted: 'stopped: not learnt from',
};

export class EpisodeList {
  /**
   * @param {HTMLElement} root
   * @param {(row: EpisodeRow, value: Value) => void} correct
   * @param {(episode: number) => void} view    show its recorded pictures
   */
  constructor(root, correct, view) {
    this.root = root;
    this.correct = correct;
    this.view = view;
    /** @type {Map<number, {element: HTMLElement, text: string}>} */
    this.rows = new Map();
    /** @type {number | null} */
    this.chosen = null;
    this.known = Infinity;
    /** The episode whose label is asked for, be it again. @type {number | null} */
    this.awaited = null;
    /** The newest: a row that kept those of its own time would keep every list that ever was. @type {EpisodeRow[]} */
    this.list = [];
  }

  /** @param {EpisodeRow[]} rows @param {Learner | null} learner @param {number | null} awaited */
  show(rows, learner, awaited) {
    const known = learner?.label_watermark ?? Infinity;
    if (rows === this.list && known === this.known && awaited === this.awaited) return; // as ten times a second but for once an episode
    this.known = known;
    this.awaited = awaited;
    this.list = rows;
    this.draw();
  }

  draw() {
    const rows = this.list;
    const present = new Set(rows.map((row) => row.episode));
    for (const [episode, shown] of this.rows) {
      if (present.has(episode)) continue;
      shown.element.remove();
      this.rows.delete(episode);
    }
    for (const row of [...rows].sort((a, b) => a.episode - b.episode)) {
      const text = JSON.stringify([row, this.chosen === row.episode, this.pending(row), this.awaited === row.episode]);
      const shown = this.rows.get(row.episode);
      if (shown?.text === text) continue;
      const element = this.build(row);
      if (shown) shown.element.replaceWith(element);
      else {
        this.root.prepend(element);
        if (this.chosen === null) this.root.scrollTop = 0; // the newest is what is talked about
      }
      this.rows.set(row.episode, { element, text });
    }
  }

  /** What its label does not say of it. @param {EpisodeRow} row */
  remark(row) {
    if (row.complete && row.label === 'discard' && row.episode !== this.awaited) return 'never learnt from';
    if (this.pending(row)) return 'not learnt from yet';
    return row.ended_by === row.label ? '' : ENDED[row.ended_by] ?? row.ended_by;
  }

  /** Whether the learner has not heard of the label yet. @param {EpisodeRow} row */
  pending(row) {
    return row.complete && row.label !== null && row.episode !== this.awaited && (row.revision ?? 0) > this.known;
  }

  /** @param {EpisodeRow} row */
  build(row) {
    const item = document.createElement('li');
    const open = this.chosen === row.episode;
    const known = row.label === null ? { mark: '·', word: 'no label' } : LABELS[row.label] ?? { mark: '?', word: row.label };
    const label = this.awaited === row.episode ? { mark: '?', word: 'awaited' } : known;
    const summary = document.createElement('button');
    summary.className = 'episode';
    summary.dataset.label = row.label ?? 'none';
    summary.setAttribute('aria-expanded', String(open));
    summary.title = open ? 'close' : row.complete ? 'correct this label, or view the episode again' : 'cut off: it is never learnt from, and needs no label';
    /** @type {[string, string][]} */
    const cells = [
      ['number', String(row.episode)], ['mark', label.mark], ['word', label.word],
      ['ended', this.remark(row)], ['steps', `${row.steps} steps`], ['version', `v${row.adapter_version}`],
    ];
    if (open) cells.splice(2); // its labels stand there: the list stays where it is
    summary.append(...cells.map(([name, text]) => {
      const cell = document.createElement('span');
      cell.className = name;
      cell.textContent = text;
      if (name === 'mark') cell.setAttribute('aria-hidden', 'true');
      return cell;
    }));
    summary.addEventListener('click', () => {
      this.chosen = open ? null : row.episode;
      this.draw();
      const element = this.rows.get(row.episode)?.element;
      element?.querySelector('button')?.focus({ preventScroll: true });
      element?.scrollIntoView({ block: 'nearest' }); // the labels that it offers, too
    });
    item.append(summary);
    item.className = open ? 'open' : '';
    if (open) item.append(this.corrections(row));
    return item;
  }

  /** @param {EpisodeRow} row */
  corrections(row) {
    const choices = document.createElement('div');
    choices.className = 'corrections';
    for (const value of /** @type {Value[]} */ (row.complete ? ['success', 'failure', 'discard'] : [])) {
      const button = document.createElement('button');
      button.textContent = `${LABELS[value]?.mark} ${value}`;
      button.setAttribute('aria-disabled', String(row.label === value));
      button.title = row.label === value ? 'this is its label now' : `correct episode ${row.episode} to ${value}`;
      button.addEventListener('click', () => {
        if (row.label === value) return;
        this.chosen = null;
        this.draw();
        this.correct(row, value);
      });
      choices.append(button);
    }
    if (!row.complete) choices.append('never learnt from, needs no label');
    const view = document.createElement('button');
    view.className = 'view-again';
    view.textContent = '▶ view';
    view.title = `the recorded pictures of episode ${row.episode}`;
    view.addEventListener('click', () => this.view(row.episode));
    choices.append(view);
    return choices;
  }
}
