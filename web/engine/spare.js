// What draws where a bundler has left the engine's files behind: the CPU's build as text inside the bundle, which comes
// along with the npm package alone.

/**
 * Downloads a build. Where that is not there, the CPU's is taken from the bundle: the download fails all the same, and
 * to try again helps.
 * @template T
 * @param {() => Promise<T>} download
 */
export async function orSpare(download) {
  try {
    return await download();
  } catch (error) {
    // An address that is none, as in a bundle that is no module, is a TypeError.
    if (error.missing || error instanceof TypeError) await takeSpare(error).catch(() => {});
    throw error;
  }
}

/** @param {Error} error of the download */
async function takeSpare({ message }) {
  await import('./inlined.js');
  console.warn(
    `<mean-flow>: its engine does not lie beside the script (${message}), so the one inside the bundle draws, on the CPU alone. For the others, copy the package's folder engine/ to the site and name what it lies in: MeanFlowElement.assets = "/…/".`,
  );
}
