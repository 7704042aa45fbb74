// The models that the page can draw by: those that it offers, and a file of the visitor's.

import { download } from '../engine/download.js';

/** Where the shipped models lie. */
export const MODELS = 'static/models/';

/** @typedef {{file: string, sha256: string}} ShippedFile weights, and the checksum that they must have */

/**
 * A model that the page offers, as models.json lists it.
 * @typedef {object} ShippedModel
 * @property {string} id
 * @property {string} title
 * @property {string} file
 * @property {string} sha256
 * @property {Record<string, string>} [classTitles] where they say more than the names of the classes
 * @property {string[]} [prompts] to begin with, of a model that takes prompts; the first is shown first
 * @property {ShippedFile} [flowMatching] its counterpart that was trained by Flow Matching
 */

/**
 * @typedef {{file: File, sha256?: string}} OpenedFile weights of the visitor's; the checksum once they have been loaded
 */
/** @typedef {ShippedModel | OpenedFile} Model */

/**
 * Whether the page offers a model itself: then its file has an address.
 * @type {(model: Model) => model is ShippedModel}
 */
export const isShipped = (model) => 'id' in model;

/** The list of shipped models. @returns {Promise<ShippedModel[]>} */
export async function readModels() {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const pieces = [];
  await download(`${MODELS}models.json`, () => {}, (piece) => pieces.push(piece));
  return JSON.parse(await new Blob(pieces).text());
}
