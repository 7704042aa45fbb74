// One picture, large, beside the noise it was made from: what a network call does.

import { draw } from './gallery.js';

/** Each pixel of a saved picture is enlarged this many times. */
const SAVED_SCALE = 8;

export class Detail {
  #dialog;
  #parts;
  #picture;
  #name;

  /** @param {HTMLDialogElement} dialog with the elements that carry `data-part` */
  constructor(dialog) {
    this.#dialog = dialog;
    this.#parts = Object.fromEntries([...dialog.querySelectorAll('[data-part]')].map((element) => [element.dataset.part, element]));
    this.#parts.save.addEventListener('click', () => this.#save());
    this.#parts.link.addEventListener('click', () => this.#copyLink());
    // A click beside the window closes it.
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  }

  /**
   * @param {{picture: ImageData, noise: ImageData}} tile
   * @param {{title: string, calls: string, name: string, link?: string}} words `name`: of the file when saved
   */
  open({ picture, noise }, { title, calls, name, link }) {
    [this.#picture, this.#name] = [picture, name];
    draw(this.#parts.noise, noise);
    draw(this.#parts.picture, picture);
    this.#parts.picture.setAttribute('aria-label', title);
    this.#parts.title.textContent = title;
    this.#parts.calls.textContent = calls;
    this.#parts.link.textContent = 'Copy link';
    this.#parts.link.dataset.link = link ?? '';
    this.#parts.link.hidden = link === undefined;
    this.#dialog.showModal();
  }

  async #copyLink() {
    const { link } = this.#parts;
    try {
      await navigator.clipboard.writeText(link.dataset.link);
      link.textContent = 'Copied';
    } catch {
      // Clipboards may be refused; the address bar takes the same link.
      history.replaceState(null, '', link.dataset.link);
      link.textContent = 'In the address bar';
    }
  }

  #save() {
    const small = document.createElement('canvas');
    draw(small, this.#picture);
    const large = document.createElement('canvas');
    [large.width, large.height] = [small.width * SAVED_SCALE, small.height * SAVED_SCALE];
    const context = large.getContext('2d');
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, large.width, large.height);
    large.toBlob((blob) => {
      const anchor = document.createElement('a');
      anchor.href = URL.createObjectURL(blob);
      anchor.download = this.#name;
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
    }, 'image/png');
  }
}
