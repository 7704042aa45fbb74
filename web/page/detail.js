// One picture, large, beside the noise it was made from: what a network call does.

import { draw } from '../element/canvas.js';
import { savePicture } from './save.js';

export class Detail {
  #dialog;
  #parts;
  #picture;
  #saved;

  /** @param {HTMLDialogElement} dialog with the elements that carry `data-part` */
  constructor(dialog) {
    this.#dialog = dialog;
    this.#parts = Object.fromEntries([...dialog.querySelectorAll('[data-part]')].map((element) => [element.dataset.part, element]));
    this.#parts.save.addEventListener('click', () => savePicture(this.#picture, this.#saved));
    for (const part of ['link', 'embed']) this.#parts[part].addEventListener('click', () => this.#copy(this.#parts[part]));
    // A click beside the window closes it.
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  }

  /**
   * @param {{picture: ImageData, noise: ImageData}} tile
   * @param {{title: string, calls: string, link?: string, embed?: string}} words `link` and `embed` are there to be copied
   * @param {{name: string, recipe: object}} saved the name of the file when it is saved, and what it says about itself
   */
  open({ picture, noise }, { title, calls, link, embed }, saved) {
    [this.#picture, this.#saved] = [picture, saved];
    draw(this.#parts.noise, noise);
    draw(this.#parts.picture, picture);
    this.#parts.picture.setAttribute('aria-label', title);
    this.#parts.title.textContent = title;
    this.#parts.calls.textContent = calls;
    for (const [part, text, words] of [['link', link, 'Copy link'], ['embed', embed, 'Copy embed code']]) {
      const button = this.#parts[part];
      button.textContent = words;
      button.dataset.text = text ?? '';
      button.hidden = text === undefined;
    }
    this.#dialog.showModal();
  }

  async #copy(button) {
    const { text } = button.dataset;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      // Clipboards may be refused; a link can stand in the address bar, any text in a window.
      if (button !== this.#parts.link) prompt('Copy this', text);
      else {
        history.replaceState(null, '', text);
        button.textContent = 'In the address bar';
      }
    }
  }
}
