// The prompt: a field that draws while one types, ideas to begin with, and what the model makes of words that it does
// not know.

import { replaced, unknownWords, wordsOf } from '../element/prompt.js';
import { byId } from './dom.js';

/** @import { ModelInfo } from '../engine/types.js' */

export class PromptField {
  #change;
  /** What the model says about itself, where it takes prompts. @type {ModelInfo | undefined} */
  #info;

  /**
   * @param {(prompt: string) => void} change with what stands in the field
   * @param {(prompt: string) => void} changeTo with what the pictures become on the right of the square
   */
  constructor(change, changeTo) {
    this.#change = change;
    const [field, to] = [byId('prompt', HTMLInputElement), byId('prompt-to', HTMLInputElement)];
    byId('prompt-field').addEventListener('submit', (event) => event.preventDefault());
    // A letter that is being composed is none yet.
    field.addEventListener('input', (event) => /** @type {InputEvent} */ (event).isComposing || this.#changed());
    field.addEventListener('compositionend', () => this.#changed());
    to.addEventListener('input', () => changeTo(to.value));
  }

  /**
   * Shows the field for a model that takes prompts, and hides it for others.
   * @param {ModelInfo} info
   * @param {string} prompt
   * @param {string} promptTo
   * @param {string[]} ideas
   */
  offer(info, prompt, promptTo, ideas) {
    const takes = info.promptTokens > 0;
    for (const id of ['prompt-field', 'prompt-to-field']) byId(id).hidden = !takes;
    this.#info = takes ? info : undefined;
    byId('prompt-ideas').replaceChildren(...(takes ? ideas.map((idea) => this.#button(idea, idea)) : []));
    byId('prompt-to', HTMLInputElement).value = promptTo;
    this.show(prompt);
  }

  /** Shows a prompt that came from elsewhere. @param {string} prompt */
  show(prompt) {
    byId('prompt', HTMLInputElement).value = prompt;
    this.#hint(prompt);
  }

  #changed() {
    const { value } = byId('prompt', HTMLInputElement);
    this.#hint(value);
    this.#change(value);
  }

  /** Says which words are not known, and offers known ones. @param {string} prompt */
  #hint(prompt) {
    const hint = byId('prompt-hint');
    hint.replaceChildren();
    if (!this.#info) return;
    const unknown = unknownWords(prompt, this.#info);
    for (const { word, nearest } of unknown.slice(0, 3)) {
      const mark = document.createElement('mark');
      mark.textContent = word;
      hint.append(mark, nearest ? ' is not a word it knows. Did you mean ' : ' is not a word it knows. ');
      if (nearest) hint.append(this.#button(nearest, replaced(prompt, word, nearest)), '? ');
    }
    const words = wordsOf(prompt).length;
    if (words > this.#info.promptTokens) hint.append(`It reads the first ${this.#info.promptTokens} words.`);
  }

  /**
   * A button that writes a prompt into the field.
   * @param {string} text
   * @param {string} prompt
   */
  #button(text, prompt) {
    const button = document.createElement('button');
    Object.assign(button, { type: 'button', textContent: text });
    button.addEventListener('click', () => {
      this.show(prompt);
      this.#change(prompt);
      byId('prompt').focus();
    });
    return button;
  }
}
