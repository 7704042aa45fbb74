// Pictures on canvases.

/**
 * Puts a picture on a canvas of its size.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageData | ImageBitmap} picture a bitmap is used up
 */
export function draw(canvas, picture) {
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = contextOf(canvas);
  if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
  else {
    context.drawImage(picture, 0, 0);
    picture.close();
  }
}

/** What draws on a canvas. @param {HTMLCanvasElement} canvas */
export function contextOf(canvas) {
  const context = canvas.getContext('2d');
  // Out of memory, or of contexts.
  if (!context) throw new Error('this browser gives no canvas to draw on');
  return context;
}

/**
 * One of the pictures of a size that lie one after the other in RGBA bytes.
 * @param {number} index
 * @param {Uint8Array | Uint8ClampedArray} rgba
 * @param {{width: number, height: number}} size
 */
export function pictureAt(index, rgba, { width, height }) {
  const bytes = width * height * 4;
  return new ImageData(new Uint8ClampedArray(rgba.slice(index * bytes, (index + 1) * bytes)), width, height);
}
