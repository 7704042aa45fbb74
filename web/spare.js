// What draws where a bundler has left the engine's files behind: the CPU's build as text inside the bundle, which comes along with
// the npm package alone (bundle.mjs puts nothing in this one's place for the site).

/**
 * Takes the CPU's build from the bundle.
 * @param {Error} reason why no other is there
 */
export async function takeSpare({ message }) {
  await import('./inlined.js');
  console.warn(`<mean-flow>: its engine does not lie beside the script (${message}), so the one inside the bundle draws, on the CPU alone. For the others, copy the package's folder engine/ to the site and name what it lies in: MeanFlowElement.assets = "/…/".`);
}
