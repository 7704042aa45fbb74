// Points that a reader draws: cells of a sheet, which fit into an address.

/** Edge of the sheet, in cells. */
export const CELLS = 40;
/** The sheet covers the plane within ± this. */
const RANGE = 2;

/** Which cells are drawn; as text six of them are a letter of base64url. @typedef {boolean[]} Cells */

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** The cells of a text; none of one that is not of this kind. @param {string} text @returns {Cells} */
export function drawnFrom(text) {
  const cells = Array(CELLS * CELLS).fill(false);
  const numbers = [...text].map((letter) => LETTERS.indexOf(letter));
  if (numbers.includes(-1)) return cells;
  return cells.map((_, i) => Boolean((numbers[Math.floor(i / 6)] ?? 0) & (1 << (i % 6))));
}

/** The text of cells. @param {Cells} cells */
export function drawnText(cells) {
  const numbers = Array(Math.ceil(cells.length / 6)).fill(0);
  cells.forEach((drawn, i) => {
    if (drawn) numbers[Math.floor(i / 6)] |= 1 << (i % 6);
  });
  return numbers.map((number) => LETTERS[number]).join('').replace(/A+$/, '');
}

/** The middles of the drawn cells, as points of the plane. @param {Cells} cells @returns {number[][]} */
export function drawnPoints(cells) {
  const at = (/** @type {number} */ cell) => ((cell + 0.5) / CELLS) * 2 * RANGE - RANGE;
  const points = cells.map((drawn, i) => drawn && [at(i % CELLS), -at(Math.floor(i / CELLS))]);
  return points.filter((point) => point !== false);
}
