// What the sheet of points and the pad have in common: a brush that keys and hands move from cell to cell.

/** The way that each key moves the brush. @type {Record<string, number[]>} */
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The cells of a line, both ends with them. @param {number[]} from @param {number[]} to */
export function line(from, to) {
  const way = Math.max(...from.map((x, axis) => Math.abs(to[axis] - x)), 1);
  return Array.from({ length: way + 1 }, (_, i) =>
    from.map((start, axis) => Math.round(start + ((to[axis] - start) * i) / way)),
  );
}
