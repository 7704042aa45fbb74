// Small builders for the page's controls.

/** @typedef {{value: string, text: string}} Option */

/** @param {string} value @param {string} [text] @returns {Option} */
export const option = (value, text = value) => ({ value, text });

/**
 * Radio buttons in a container, one chosen.
 * @param {HTMLElement} root
 * @param {string} name of the group
 * @param {Option[]} options
 * @param {string} chosen
 * @param {(value: string) => void} onChoose
 */
export function choices(root, name, options, chosen, onChoose) {
  root.replaceChildren(
    ...options.map(({ value, text }) => {
      const label = document.createElement('label');
      const input = document.createElement('input');
      Object.assign(input, { type: 'radio', name, value, checked: value === chosen });
      input.addEventListener('change', () => onChoose(value));
      const span = document.createElement('span');
      span.textContent = text;
      label.append(input, span);
      return label;
    }),
  );
}

/**
 * The same as a drop-down list, for more options than fit as buttons.
 * @param {HTMLElement} root
 * @param {Option[]} options
 * @param {string} chosen
 * @param {(value: string) => void} onChoose
 */
export function list(root, options, chosen, onChoose) {
  const select = document.createElement('select');
  select.setAttribute('aria-label', root.closest('fieldset')?.querySelector('legend')?.textContent ?? '');
  select.append(...options.map(({ value, text }) => new Option(text, value, false, value === chosen)));
  select.addEventListener('change', () => onChoose(select.value));
  root.replaceChildren(select);
}

/** Bytes in the unit that people read. @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
}

/** The last part of a class name such as `item/book`, as a word. @param {string} name */
export function classTitle(name) {
  const word = name.slice(name.lastIndexOf('/') + 1).replaceAll(/[_-]+/g, ' ');
  return word.charAt(0).toUpperCase() + word.slice(1);
}
