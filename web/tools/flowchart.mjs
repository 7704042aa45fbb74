// Draws a flowchart of Mermaid as SVG, from top to bottom, each subgraph in a box of its own: as much of the language
// as the documents use.
import MarkdownIt from 'markdown-it';

const escape = new MarkdownIt().utils.escapeHtml;
/** In pixels: a letter of each of a node's two lines, a node, what lies between nodes and around them. */
const LETTERS = [7.3, 7.1];
const [HEIGHT, GAP, RISE, AROUND, HEAD] = [48, 14, 34, 18, 44];
const LINE = /^(\w+(?:\[".*?"\])?)(?: --(?: "(.*?)" --)?> (\w+(?:\[".*?"\])?))?$/;

/** @param {string} text @returns {string | undefined} nothing for a text that this does not understand */
export function drawFlowchart(text) {
  const chart = parse(text);
  if (!chart) return undefined;
  const { nodes, boxes, arrows } = chart;
  let right = 0;
  for (const box of boxes) right = place(box, nodes.filter((node) => node.box === box), right) + GAP;
  const height = Math.max(...boxes.map((box) => box.height));
  const parts = [...boxes.map((box) => drawBox(box, height)), ...arrows.map(drawArrow), ...nodes.map(drawNode)];
  const says = arrows.map(({ from, to }) => `${from.lines[0]} to ${to.lines[0]}`).join(', ');
  const size = `viewBox="0 0 ${right - GAP} ${height}" width="${right - GAP}" height="${height}"`;
  const svg = `<svg class="chart" ${size} role="img" aria-label="${escape(says)}">${parts.join('')}</svg>`;
  return `<div class="table" tabindex="0">${svg}</div>\n`;
}

function parse(text) {
  const [nodes, boxes, arrows] = [new Map(), [], []];
  const nodeOf = (said) => {
    const [, id, label] = said.match(/^(\w+)(?:\["(.*)"\])?$/);
    if (!nodes.has(id)) nodes.set(id, { box: boxes.at(-1), lines: [id], to: [] });
    if (label) nodes.get(id).lines = label.split('<br>');
    return nodes.get(id);
  };
  for (const line of text.trim().split('\n').map((line) => line.trim())) {
    const box = line.match(/^subgraph \w+\["(.*)"\]$/);
    if (box) boxes.push({ title: box[1] });
    if (box || line === 'end' || line.startsWith('flowchart ')) continue;
    const [, left, label, right] = line.match(LINE) ?? [];
    if (!left || boxes.length === 0) return undefined;
    const from = nodeOf(left);
    if (!right) continue;
    const to = nodeOf(right);
    from.to.push(to);
    arrows.push({ from, to, label });
  }
  return { nodes: [...nodes.values()], boxes, arrows };
}

/** Gives a box and its nodes their places, each node as low as what follows it allows; the right edge of the box. */
function place(box, nodes, left) {
  const below = (node, above = []) => {
    const next = node.to.filter((to) => to.box === box && !above.includes(to));
    return Math.max(0, ...next.map((to) => 1 + below(to, [...above, node])));
  };
  const depth = Math.max(...nodes.map((node) => below(node)));
  const rows = Array.from({ length: depth + 1 }, (_, row) => nodes.filter((node) => depth - below(node) === row));
  for (const node of nodes) node.width = 20 + Math.max(...node.lines.map((line, i) => line.length * LETTERS[i]));
  const widths = rows.map((row) => row.reduce((sum, { width }) => sum + width + GAP, -GAP));
  const width = Math.max(...widths);
  rows.forEach((row, i) => {
    let x = left + AROUND + (width - widths[i]) / 2;
    for (const node of row) {
      Object.assign(node, { x, y: HEAD + i * (HEIGHT + RISE) });
      x += node.width + GAP;
    }
  });
  Object.assign(box, { left, width: width + 2 * AROUND, height: HEAD + rows.length * (HEIGHT + RISE) - RISE + AROUND });
  return left + box.width;
}

const drawBox = ({ title, left, width }, height) =>
  `<rect class="box" x="${left + 0.5}" y="0.5" width="${width - 1}" height="${height - 1}" rx="14"/>` +
  `<text class="title" x="${left + AROUND}" y="27">${escape(title)}</text>`;

function drawNode({ x, y, width, lines }) {
  const top = y + (lines.length === 1 ? 28 : 20);
  const said = lines.map(
    (line, i) => `<text class="${['code', 'words'][i]}" x="${x + width / 2}" y="${top + 17 * i}">${escape(line)}</text>`,
  );
  return `<rect class="node" x="${x}" y="${y}" width="${width}" height="${HEIGHT}" rx="8"/>${said.join('')}`;
}

/** Down from a node to the next; from box to box, over the side. */
function drawArrow({ from, to, label }) {
  const isAcross = from.box !== to.box;
  const [x, y] = isAcross ? [from.x + from.width, from.y + HEIGHT / 2] : [from.x + from.width / 2, from.y + HEIGHT];
  const [toX, toY] = isAcross ? [to.x, to.y + HEIGHT / 2] : [to.x + to.width / 2, to.y];
  const bend = isAcross ? [(x + toX) / 2, y, (x + toX) / 2, toY] : [x, y + RISE / 2, toX, toY - RISE / 2];
  const head = isAcross ? `M${toX - 6} ${toY - 4}l6 4-6 4` : `M${toX - 4} ${toY - 6}l4 6 4-6`;
  const words = label ? `<text class="words said" x="${x + 8}" y="${y + 18}">${escape(label)}</text>` : '';
  return `<path class="arrow" d="M${x} ${y}C${bend.join(' ')} ${toX} ${toY}${head}"/>${words}`;
}
