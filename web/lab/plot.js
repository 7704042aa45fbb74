// What the laboratory draws: points, ways and arrows in the plane, and curves over the steps.

import { contextOf } from '../element/canvas.js';

/** The plane is shown within ± this. */
const RANGE = 2.6;
/** Of an arrow, how much is drawn: samples move against the velocity. */
const ARROW = 1 / 6;
const TURN = 2 * Math.PI;

/** @typedef {{ink: string, soft: string, accent: string, line: string}} Colours */

/** The colours of the page, as they are now. @returns {Colours} */
export function pageColours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: colour('ink'), soft: colour('soft'), accent: colour('accent'), line: colour('line') };
}

/** A canvas as sharp as the screen, with its size in CSS pixels. @param {HTMLCanvasElement} canvas */
export function begin(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = globalThis.devicePixelRatio || 1;
  const size = [width, height].map((length) => Math.max(1, Math.round(length * ratio)));
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = contextOf(canvas);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.lineCap = 'round';
  context.lineJoin = 'round';
  return { context, width, height };
}

/** The plane on a canvas. */
export class Plane {
  #context;
  #scale;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const { context, width } = begin(canvas);
    this.#context = context;
    this.#scale = width / (2 * RANGE);
  }

  /** @param {number} x @param {number} y @returns {[number, number]} */
  #pixel(x, y) {
    return [(x + RANGE) * this.#scale, (RANGE - y) * this.#scale];
  }

  /**
   * Dots at points.
   * @param {Float32Array} points
   * @param {string} colour
   * @param {{radius?: number, opacity?: number}} [style]
   */
  dots(points, colour, { radius = 1.9, opacity = 0.7 } = {}) {
    const context = this.#context;
    context.globalAlpha = opacity;
    context.fillStyle = colour;
    context.beginPath();
    for (let i = 0; i < points.length; i += 2) {
      const [x, y] = this.#pixel(points[i], points[i + 1]);
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, TURN);
    }
    context.fill();
    context.globalAlpha = 1;
  }

  /**
   * Lines, each through a list of points.
   * @param {number[][][]} ways
   * @param {string} colour
   * @param {{width?: number, opacity?: number}} [style]
   */
  lines(ways, colour, { width = 1, opacity = 1 } = {}) {
    const context = this.#context;
    Object.assign(context, { globalAlpha: opacity, strokeStyle: colour, lineWidth: width });
    context.beginPath();
    for (const way of ways) {
      trace(context, way.map(([x, y]) => this.#pixel(x, y)));
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  /**
   * Where velocities take points, a part of the way.
   * @param {Float32Array} places
   * @param {Float32Array} velocities
   * @param {string} colour
   */
  arrows(places, velocities, colour) {
    const tips = places.map((place, i) => place - ARROW * velocities[i]);
    const ways = Array.from({ length: places.length / 2 }, (_, i) => [at(places, i), at(tips, i)]);
    this.lines(ways, colour, { width: 1.4 });
    this.dots(tips, colour, { radius: 2.1, opacity: 1 });
  }
}

/** A point of a list. @param {Float32Array} points @param {number} i */
export const at = (points, i) => [points[2 * i], points[2 * i + 1]];

/** Steps that are averaged into a point of a curve. */
const POINTS_OF_CURVE = 160;
const FONT = '11px ui-sans-serif, system-ui, sans-serif';

/**
 * Curves of positive numbers over the steps, on a logarithmic scale.
 * @param {HTMLCanvasElement} canvas
 * @param {{values: number[], colour: string}[]} curves a number for each step so far, or NaN
 * @param {number} steps in all
 * @param {Colours} colours
 */
export function drawCurves(canvas, curves, steps, colours) {
  const { context, width, height } = begin(canvas);
  const [left, right, top, bottom] = [34, 8, 10, 20];
  const stretch = Math.max(1, Math.round(steps / POINTS_OF_CURVE));
  const means = curves.map(({ values }) => meansOf(values, stretch));
  const known = means.flat().filter((mean) => mean > 0);
  const [low, high] = [Math.min(0.1, ...known), Math.max(2, ...known)].map(Math.log10);
  const x = (/** @type {number} */ step) => left + (step / steps) * (width - left - right);
  const scale = (height - top - bottom) / (high - low);
  const y = (/** @type {number} */ value) => top + (high - Math.log10(value)) * scale;
  Object.assign(context, { font: FONT, fillStyle: colours.soft, textAlign: 'right', textBaseline: 'middle' });
  for (let power = Math.ceil(low); power <= high; power += 1) {
    context.fillText(String(Number((10 ** power).toPrecision(1))), left - 7, y(10 ** power));
    stroke(context, [[left, y(10 ** power)], [width - right, y(10 ** power)]], colours.line, 1);
  }
  context.textAlign = 'left';
  context.fillText('0', left, height - 8);
  context.textAlign = 'right';
  context.fillText(`${steps.toLocaleString('en')} steps`, width - right, height - 8);
  curves.forEach(({ colour }, i) => {
    const points = means[i].map((mean, j) => [x((j + 0.5) * stretch), mean > 0 ? y(mean) : NaN]);
    stroke(context, points.filter(([, y]) => !Number.isNaN(y)), colour, 1.8);
  });
}

/** Means of stretches of numbers, without those that are none. @param {number[]} values @param {number} stretch */
export function meansOf(values, stretch) {
  const count = Math.ceil(values.length / stretch);
  return Array.from({ length: count }, (_, i) => {
    const known = values.slice(i * stretch, (i + 1) * stretch).filter((value) => !Number.isNaN(value));
    return known.reduce((sum, value) => sum + value, 0) / known.length;
  });
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number[][]} points
 * @param {string} colour
 * @param {number} width
 */
function stroke(context, points, colour, width) {
  Object.assign(context, { strokeStyle: colour, lineWidth: width });
  context.beginPath();
  trace(context, points);
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {number[][]} points */
function trace(context, points) {
  points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
}

/**
 * How far two sets of points are apart: the mean distance from each to the nearest of the other, both ways.
 * @param {Float32Array} one
 * @param {Float32Array} other
 */
export function apart(one, other) {
  return (nearest(one, other) + nearest(other, one)) / 2;
}

/** @param {Float32Array} points @param {Float32Array} others */
function nearest(points, others) {
  let sum = 0;
  for (let i = 0; i < points.length; i += 2) {
    let least = Infinity;
    for (let j = 0; j < others.length; j += 2) {
      least = Math.min(least, (points[i] - others[j]) ** 2 + (points[i + 1] - others[j + 1]) ** 2);
    }
    sum += Math.sqrt(least);
  }
  return sum / (points.length / 2);
}
