// The elements that index.html has, found and known to be of their kind.

/**
 * The element with an id.
 * @template {Element} [Kind=HTMLElement]
 * @param {string} id
 * @param {new () => Kind} [kind]
 * @throws where the page has none
 */
export function byId(id, kind) {
  return ofKind(document.getElementById(id), kind, `#${id}`);
}

/**
 * The elements in `root` that carry `data-part`, by those names.
 * @template {Record<string, new () => Element>} Kinds
 * @param {Element} root
 * @param {Kinds} kinds
 * @returns {{[Name in keyof Kinds]: InstanceType<Kinds[Name]>}}
 * @throws where one is missing
 */
export function partsOf(root, kinds) {
  const part = (/** @type {string} */ name) =>
    ofKind(root.querySelector(`[data-part=${name}]`), kinds[name], `data-part="${name}"`);
  return /** @type {any} */ (Object.fromEntries(Object.keys(kinds).map((name) => [name, part(name)])));
}

/**
 * @template {Element} Kind
 * @param {Element | null} found
 * @param {(new () => Kind) | undefined} kind
 * @param {string} name
 * @returns {Kind}
 */
function ofKind(found, kind, name) {
  if (!(found instanceof (kind ?? HTMLElement))) throw new Error(`the page has no ${kind?.name ?? 'element'} ${name}`);
  return /** @type {Kind} */ (found);
}
