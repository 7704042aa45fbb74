// A document of the guide from Markdown to HTML: anchors as GitHub makes them, and nothing that the site's policy
// forbids.
import MarkdownIt from 'markdown-it';

import { drawFlowchart } from './flowchart.mjs';

const markdown = new MarkdownIt({ html: true });
export const escape = markdown.utils.escapeHtml;
/** An element that is drawn in the page, where GitHub shows nothing. */
const LIVE = /^<!-- live: (<mean-flow( [\w-]+(="[^"<>]*")?)*><\/mean-flow>) -->$/;
const COMMENT = /^<!--.*-->$/s;
/** Most letters of a description, as search engines show them. */
const DESCRIPTION = 160;

// Who scrolls by keyboard must be able to enter what scrolls on its own.
const { rules } = markdown.renderer;
rules.fence = (tokens, i) =>
  (tokens[i].info === 'mermaid' && drawFlowchart(tokens[i].content)) ||
  `<pre tabindex="0"><code>${escape(tokens[i].content)}</code></pre>\n`;
// A flag or a name breaks at none of its hyphens.
rules.code_inline = (tokens, i) => {
  const { content } = tokens[i];
  return `<code${/^\S{1,30}$/.test(content) ? ' class="whole"' : ''}>${escape(content)}</code>`;
};
rules.table_open = () => '<div class="table" tabindex="0"><table>\n';
rules.table_close = () => '</table></div>\n';
rules.heading_close = (tokens, i) => {
  const { tag, attrs } = tokens[i - 2];
  const anchor = tag === 'h1' ? '' : `<a class="anchor" href="#${attrs[0][1]}" aria-hidden="true" tabindex="-1">#</a>`;
  return `${anchor}</${tag}>\n`;
};

/** A document: its tokens, the anchors that one can link to, and what it says of itself. */
export function read(text) {
  const tokens = markdown.parse(text, {});
  const headings = [];
  const anchors = new Set();
  tokens.forEach((token, i) => {
    if (token.type !== 'heading_open') return;
    const heading = textOf(tokens[i + 1]);
    headings.push({ tag: token.tag, text: heading, anchor: anchorOf(heading, anchors) });
    token.attrSet('id', headings.at(-1).anchor);
  });
  const first = tokens.findIndex(({ type, level }) => type === 'paragraph_open' && level === 0);
  return {
    tokens,
    anchors,
    title: headings.find(({ tag }) => tag === 'h1')?.text,
    description: first < 0 ? '' : beginning(textOf(tokens[first + 1])),
    sections: headings.filter(({ tag }) => tag === 'h2'),
  };
}

/** The anchor of a heading as GitHub makes it; `taken` holds those before. */
function anchorOf(heading, taken) {
  const name = heading.trim().toLowerCase().replaceAll(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, '').replaceAll(' ', '-');
  let anchor = name;
  for (let i = 1; taken.has(anchor); i++) anchor = `${name}-${i}`;
  taken.add(anchor);
  return anchor;
}

/** What an inline token says, without its marks. */
function textOf({ children }) {
  const said = ({ type, content }) => (type.endsWith('break') ? ' ' : type === 'html_inline' ? '' : content);
  return children.map(said).join('');
}

/** The first words of a text. */
function beginning(text) {
  return text.length <= DESCRIPTION ? text : `${text.slice(0, DESCRIPTION).replace(/[\s,.;:(]+\S*$/, '')}…`;
}

/**
 * The HTML of a document.
 * @param {ReturnType<typeof read>} document
 * @param {{addressOf: (link: string, line: number) => {address?: string, path?: string}, refuse: (line: number, what:
 *   string) => void}} site where links lead; what is wrong
 */
export function render({ tokens }, site) {
  let line = 1;
  for (const token of tokens) {
    if (token.map) line = token.map[0] + 1;
    if (token.type === 'html_block') token.content = htmlOf(token.content.trim(), line, site);
    if (token.type === 'inline') token.children = inline(token.children, line, site);
    // The policy forbids styles in attributes.
    const align = token.attrGet('style');
    if (align) token.attrs = [['class', align.replace('text-align:', '')]];
  }
  return markdown.renderer.render(withoutEmptyHeads(tokens), markdown.options, {});
}

/** The parts of a text, with addresses of the site. */
function inline(children, line, site) {
  const parts = [];
  /** Where links began that have no address. */
  const opened = [];
  for (const child of children) {
    if (child.type.endsWith('break')) line++;
    if (child.type === 'html_inline') child.content = htmlOf(child.content, line, site);
    if (child.type === 'image') {
      parts.push(...picture(child, site.addressOf(child.attrGet('src'), line).address ?? ''));
      continue;
    }
    if (child.type === 'link_open') {
      const { address, path } = site.addressOf(child.attrGet('href'), line);
      opened.push({ at: parts.length, path });
      if (address !== undefined) child.attrSet('href', address);
      if (path) continue;
    }
    if (child.type === 'link_close') {
      const { at, path } = opened.pop();
      if (path) {
        parts.push(...pathAfter(parts.splice(at), path, child));
        continue;
      }
    }
    parts.push(child);
  }
  return parts;
}

/** An image; one that says what it shows leads to itself, to be seen as large as it is. */
function picture(image, address) {
  image.attrSet('src', address);
  image.attrSet('loading', 'lazy');
  if (image.content === '') return [image];
  const link = (type, nesting) => new image.constructor(type, 'a', nesting);
  return [Object.assign(link('link_open', 1), { attrs: [['href', address]] }), image, link('link_close', -1)];
}

/** The text of a link to a file that has no address: it says where the file is. */
function pathAfter(parts, path, { constructor: Token }) {
  const code = new Token('code_inline', 'code', 0);
  code.content = path;
  if (parts.length === 1 && parts[0].type === 'code_inline' && path.endsWith(parts[0].content)) return [code];
  const [before, after] = [' (', ')'].map((content) => Object.assign(new Token('text', '', 0), { content }));
  return [...parts, before, code, after];
}

/** Of HTML only comments may be there, and an element that one of them holds. */
function htmlOf(html, line, { refuse }) {
  const live = html.match(LIVE);
  if (live) return `<figure class="drawn">${live[1]}<figcaption>The element, drawing in this page.</figcaption></figure>\n`;
  if (!COMMENT.test(html) || html.startsWith('<!-- live')) refuse(line, `the guide has no HTML: ${html.split('\n')[0]}`);
  return '';
}

/** Tables whose head says nothing have none, and a cell of a head that says nothing is no heading. */
function withoutEmptyHeads(tokens) {
  const isHead = ({ type }) => /^th_/.test(type);
  for (const [i, token] of tokens.entries()) {
    if (token.type === 'th_open' && tokens[i + 1].content === '') token.tag = tokens[i + 2].tag = 'td';
  }
  let open = -1;
  const gone = new Set();
  for (const [i, { type }] of tokens.entries()) {
    if (type === 'thead_open') open = i;
    if (type !== 'thead_close') continue;
    const head = tokens.slice(open, i + 1);
    if (head.some((token) => isHead(token) && token.tag === 'th')) continue;
    head.forEach((token) => gone.add(token));
  }
  return tokens.filter((token) => !gone.has(token));
}
