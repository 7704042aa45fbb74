// Prompts: the words of one, and which of them a model knows.

/** @import { ModelInfo, PromptChoice } from '../engine/types.js' */

/** What separates words; the same as in the engine (`crate/src/model/text.rs`). */
const BETWEEN =
  /[\s\p{Cc}!-/:-@[-`{-~\u00a1\u00ab\u00ad\u00bb\u00bf\u2000-\u200c\u200e-\u206f\u3000-\u303f]+/u;

/**
 * The words of a prompt, as the engine reads them.
 * @param {string} prompt
 * @returns {string[]}
 */
export function wordsOf(prompt) {
  return prompt.normalize('NFKC').toLowerCase().split(BETWEEN).filter(Boolean);
}

/**
 * What a prompt asks of a model; nothing of one that takes none.
 * @param {string | undefined} prompt
 * @param {Pick<ModelInfo, 'promptTokens'>} info
 * @returns {PromptChoice}
 */
export function promptOf(prompt, { promptTokens }) {
  return promptTokens && prompt?.trim() ? { prompt } : {};
}

/**
 * The words of a prompt that a model does not know, each with the known one that is spelt most like it, if any is.
 * @param {string} prompt
 * @param {Pick<ModelInfo, 'promptTokens' | 'vocabulary'>} info
 * @returns {{word: string, nearest: string | undefined}[]}
 */
export function unknownWords(prompt, { promptTokens, vocabulary }) {
  const known = new Set(vocabulary);
  const unknown = wordsOf(prompt).slice(0, promptTokens).filter((word) => !known.has(word));
  return [...new Set(unknown)].map((word) => ({ word, nearest: nearestWord(word, vocabulary) }));
}

/**
 * A prompt with a word replaced, wherever it stands.
 * @param {string} prompt
 * @param {string} word
 * @param {string} by
 */
export function replaced(prompt, word, by) {
  // The group keeps what is between the words.
  const parts = prompt.normalize('NFKC').toLowerCase().split(new RegExp(`(${BETWEEN.source})`, 'u'));
  return parts.map((part) => (part === word ? by : part)).join('');
}

/**
 * @param {string} word
 * @param {string[]} vocabulary
 */
function nearestWord(word, vocabulary) {
  const own = pairs(word);
  // Less than this is another word.
  let [best, most] = [/** @type {string | undefined} */ (undefined), 0.45];
  for (const known of vocabulary) {
    const others = pairs(known);
    const shared = [...own].filter((part) => others.has(part)).length;
    // Sørensen and Dice: 1 for the same word.
    const likeness = (2 * shared) / (own.size + others.size);
    if (likeness > most) [best, most] = [known, likeness];
  }
  return best;
}

/** Neighbouring letters of a word: of short words trigrams would be too few to compare by. @param {string} word */
function pairs(word) {
  const letters = [...`^${word}$`];
  return new Set(letters.slice(1).map((letter, i) => letters[i] + letter));
}
