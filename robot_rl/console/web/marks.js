// @ts-check
// Where the object goes: the places of an evaluation over a camera's picture, and which of them is the present one.

/** @typedef {import('./types').Place} Place */

const SVG = document.querySelector('svg')?.namespaceURI ?? null; // of the page's own icons: its name looks like an address
const SIZE = 0.021; // of the picture's width: a mark's radius, where there is room
const FLAT = 0.6; // it lies on the table, and is seen from the side

export class Marks {
  constructor() {
    /** As large as the picture, and as the picture in its frame: whole, in the middle. */
    this.element = /** @type {SVGSVGElement} */ (document.createElementNS(SVG, 'svg'));
    this.element.classList.add('marks');
    this.element.setAttribute('aria-hidden', 'true'); // the sentence in the band says it
    this.width = 4;
    this.height = 3;
    this.drawn = '';
    /** @type {() => void} */
    this.redraw = () => {};
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    if (width === this.width && height === this.height) return;
    this.width = width;
    this.height = height;
    this.redraw();
  }

  /** @param {Place | null} place @param {([number, number] | null)[]} marks @param {boolean} due */
  show(place, marks, due) {
    this.redraw = () => this.draw(place, marks, due);
    this.redraw();
  }

  /** @param {Place | null} place @param {([number, number] | null)[]} marks @param {boolean} due */
  draw(place, marks, due) {
    const key = JSON.stringify([place?.index, due, marks, this.width, this.height]);
    if (key === this.drawn) return;
    this.drawn = key;
    const { width, height } = this;
    this.element.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const radius = Math.min(SIZE * width, 0.46 * nearest(marks, width, height));
    this.element.replaceChildren(...marks.flatMap((mark, index) => {
      if (!mark) return [];
      const [x, y] = [mark[0] * width, mark[1] * height];
      const group = document.createElementNS(SVG, 'g');
      group.classList.add('spot');
      if (index === place?.index) group.classList.add(due ? 'due' : 'present');
      const circle = document.createElementNS(SVG, 'ellipse');
      for (const [name, value] of Object.entries({ cx: x, cy: y, rx: radius, ry: radius * FLAT })) circle.setAttribute(name, value.toFixed(2));
      const number = document.createElementNS(SVG, 'text');
      for (const [name, value] of Object.entries({ x, y, 'font-size': radius })) number.setAttribute(name, value.toFixed(2));
      number.textContent = String(index + 1);
      group.append(circle, number);
      return [group];
    }));
  }
}

/**
 * The least distance of two marks in pixels, those above each other counted as the flat marks that they are.
 * @param {([number, number] | null)[]} marks @param {number} width @param {number} height
 */
function nearest(marks, width, height) {
  const seen = marks.filter((mark) => mark !== null);
  const distances = seen.flatMap((a, i) => seen.slice(i + 1).map((b) => Math.hypot((a[0] - b[0]) * width, (a[1] - b[1]) * height / FLAT)));
  return Math.min(Infinity, ...distances);
}
