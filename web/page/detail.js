// One picture, large, beside the noise it was made from: what a network call does.

import { draw } from '../element/canvas.js';
import { partsOf } from './dom.js';
import { savePicture } from './save.js';

/** @import { Saved } from './save.js' */

export class Detail {
  #dialog;
  #parts;
  /** What is shown, and how it is saved. @type {{picture: ImageData, saved: Saved} | undefined} */
  #shown;

  /** @param {HTMLDialogElement} dialog with the elements that carry `data-part` */
  constructor(dialog) {
    this.#dialog = dialog;
    this.#parts = partsOf(dialog, {
      title: HTMLElement, noise: HTMLCanvasElement, picture: HTMLCanvasElement, calls: HTMLElement,
      save: HTMLElement, link: HTMLElement, embed: HTMLElement,
    });
    const { save, link, embed } = this.#parts;
    save.addEventListener('click', () => this.#shown && savePicture(this.#shown.picture, this.#shown.saved));
    for (const button of [link, embed]) button.addEventListener('click', () => this.#copy(button));
    // A click beside the window closes it.
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  }

  /**
   * @param {{picture: ImageData, noise: ImageData}} tile
   * @param {{title: string, calls: string, link?: string, embed?: string}} words `link` and `embed` are there to be
   *   copied
   * @param {Saved} saved
   */
  open({ picture, noise }, { title, calls, link, embed }, saved) {
    this.#shown = { picture, saved };
    draw(this.#parts.noise, noise);
    draw(this.#parts.picture, picture);
    this.#parts.picture.setAttribute('aria-label', title);
    this.#parts.title.textContent = title;
    this.#parts.calls.textContent = calls;
    this.#offer(this.#parts.link, link, 'Copy link');
    this.#offer(this.#parts.embed, embed, 'Copy embed code');
    this.#dialog.showModal();
  }

  /** @param {HTMLElement} button @param {string | undefined} text to be copied @param {string} words on the button */
  #offer(button, text, words) {
    button.textContent = words;
    button.dataset.text = text ?? '';
    button.hidden = text === undefined;
  }

  /** @param {HTMLElement} button */
  async #copy(button) {
    const { text = '' } = button.dataset;
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
