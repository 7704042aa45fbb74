// The identity in the plane: a point, where the velocity v sends it, where the average velocity u sends it.
//
// The data are a few round clouds, for which v is known in closed form; u is v averaged along the way, by Runge–Kutta.

import { followPointer } from './drag.js';

/** @typedef {number[]} Point of two numbers */

/** Middles of the clouds, and their width. */
const CLOUDS = [[-1.15, 0.75], [-0.5, 1.05], [0.75, 0.95], [1.2, 0.2], [0.35, -1.05], [-0.95, -0.75]];
const WIDTH = 0.12;
/** Steps of the way from t to r. */
const STEPS = 48;
/** The plane is shown within ± this. */
const RANGE = 2.1;
const SIZE = 360;

/** `v(z, t) = E[e − x | z]` for `z = (1 − t) x + t e`. @param {Point} z @param {number} t */
export function velocity([x, y], t) {
  const s = 1 - t;
  const variance = s * s * WIDTH * WIDTH + t * t;
  const squares = CLOUDS.map(([a, b]) => (x - s * a) ** 2 + (y - s * b) ** 2);
  const nearest = Math.min(...squares);
  const weights = squares.map((square) => Math.exp((nearest - square) / (2 * variance)));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const middle = [0, 1].map((axis) => CLOUDS.reduce((total, cloud, i) => total + weights[i] * cloud[axis], 0) / sum);
  // Within a cloud x is normal about a point between its middle and z; e follows from both.
  const slope = (t - s * WIDTH * WIDTH) / variance;
  return [x, y].map((z, axis) => -middle[axis] + slope * (z - s * middle[axis]));
}

/**
 * The way of the flow from `z` at `t` to `r`: its points, the first `z`.
 * @param {Point} z
 * @param {number} t
 * @param {number} r
 */
export function way(z, t, r) {
  const step = (r - t) / STEPS;
  const points = [z];
  for (let i = 0; i < STEPS; i++) {
    const now = t + i * step;
    const at = points[i];
    const move = (/** @type {number} */ by, /** @type {Point} */ k) => at.map((value, axis) => value + by * k[axis]);
    const k1 = velocity(at, now);
    const k2 = velocity(move(step / 2, k1), now + step / 2);
    const k3 = velocity(move(step / 2, k2), now + step / 2);
    const k4 = velocity(move(step, k3), now + step);
    points.push(at.map((value, axis) => value + (step / 6) * (k1[axis] + 2 * k2[axis] + 2 * k3[axis] + k4[axis])));
  }
  return points;
}

/** `u(z, r, t)`: the displacement of the way over its time. @param {Point} z @param {number} r @param {number} t */
export function average(z, r, t) {
  const end = endOf(z, t, r);
  return z.map((value, axis) => (value - end[axis]) / (t - r));
}

/** Where the way from `z` at `t` is at `r`. @param {Point} z @param {number} t @param {number} r */
const endOf = (z, t, r) => way(z, t, r)[STEPS];

/** `du/dt` along the flow, by a central difference. @param {Point} z @param {number} r @param {number} t */
export function derivative(z, r, t, delta = 1e-3) {
  const [before, after] = [-delta, delta].map((d) => average(endOf(z, t, t + d), r, t + d));
  return after.map((value, axis) => (value - before[axis]) / (2 * delta));
}

const pixel = (/** @type {Point} */ [x, y]) => [((x + RANGE) / (2 * RANGE)) * SIZE, ((RANGE - y) / (2 * RANGE)) * SIZE];
const path = (/** @type {Point[]} */ points) =>
  `M${points.map((point) => pixel(point).map((value) => value.toFixed(1)).join(' ')).join('L')}`;
/** How far arrow keys move the point. @type {Record<string, Point>} */
const ARROWS = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };

export class Plane {
  /** @type {SVGSVGElement} */
  #svg;
  /** @type {{t: HTMLInputElement, r: HTMLInputElement}} */
  #sliders;
  /** @type {HTMLElement} */
  #words;
  #z = [1.4, -0.9];

  /**
   * @param {SVGSVGElement} svg
   * @param {{t: HTMLInputElement, r: HTMLInputElement}} sliders
   * @param {HTMLElement} words gets the vectors as numbers
   */
  constructor(svg, sliders, words) {
    this.#svg = svg;
    this.#sliders = sliders;
    this.#words = words;
    svg.setAttribute('viewBox', `0 0 ${SIZE} ${SIZE}`);
    const point = () => {
      const { left, top, width, height } = svg.getBoundingClientRect();
      const [x, y] = pixel(this.#z);
      return [left + (x / SIZE) * width, top + (y / SIZE) * height];
    };
    followPointer(svg, point, (at) => this.#follow(at));
    svg.addEventListener('keydown', (event) => {
      const move = ARROWS[event.key];
      if (!move) return;
      event.preventDefault();
      this.#go(this.#z.map((value, axis) => value + move[axis]));
    });
    for (const slider of Object.values(sliders)) slider.addEventListener('input', () => this.#draw());
    this.#draw();
  }

  /** @param {import('./drag.js').Pointed} at */
  #follow({ clientX, clientY }) {
    const { left, top, width, height } = this.#svg.getBoundingClientRect();
    this.#go([(2 * (clientX - left)) / width - 1, 1 - (2 * (clientY - top)) / height].map((value) => value * RANGE));
  }

  /** @param {Point} z */
  #go(z) {
    this.#z = z.map((value) => Math.min(RANGE - 0.1, Math.max(0.1 - RANGE, value)));
    this.#draw();
  }

  #draw() {
    const t = Number(this.#sliders.t.value);
    // The landing time stays before the time of the point.
    const r = Math.min(Number(this.#sliders.r.value), t - 0.05);
    const [z, v, u, du] = [this.#z, velocity(this.#z, t), average(this.#z, r, t), derivative(this.#z, r, t)];
    const moved = (/** @type {Point} */ by) => z.map((value, axis) => value - (t - r) * by[axis]);
    const [walked, jumped] = [moved(v), moved(u)];
    const dot = (/** @type {Point} */ point, /** @type {string} */ kind, radius = 5) =>
      `<circle class="${kind}" cx="${pixel(point)[0]}" cy="${pixel(point)[1]}" r="${radius}"/>`;
    const line = (/** @type {Point[]} */ points, /** @type {string} */ kind) =>
      `<path class="${kind}" d="${path(points)}"/>`;
    const label = (/** @type {Point} */ point, /** @type {string} */ text) =>
      `<text x="${pixel(point)[0] + 8}" y="${pixel(point)[1] - 8}">${text}</text>`;
    this.#svg.innerHTML = [
      ...CLOUDS.map((cloud) => dot(cloud, 'cloud', ((2 * WIDTH) / (2 * RANGE)) * SIZE)),
      line(way(z, t, r), 'path'), line([z, walked], 'walk'), line([jumped, walked], 'rest'), line([z, jumped], 'chord'),
      dot(z, 'noise'), dot(walked, 'noise'), dot(jumped, 'image'), label(walked, 'v'), label(jumped, 'u'),
    ].join('');
    const sum = u.map((value, axis) => value + (t - r) * du[axis]);
    const vector = (/** @type {number[]} */ values) =>
      `(${values.map((value) => value.toFixed(2).replace('-', '−')).join(', ')})`;
    const change = vector(du.map((value) => (t - r) * value));
    this.#words.textContent =
      `u = ${vector(u)}   (t − r) du/dt = ${change}   their sum ${vector(sum)}, and v = ${vector(v)}`;
  }
}
