// A handle that is dragged over a surface, by a mouse or a finger, without keeping a finger from scrolling the page.

/** How far from the middle of the handle a finger takes hold of it, in CSS pixels. */
const REACH = 28;

/**
 * Has a handle follow the pointer. A mouse moves it from anywhere on the surface; a finger that begins on it drags it, a tap moves
 * it, and a swipe that begins elsewhere scrolls the page.
 * @param {Element} surface
 * @param {() => [number, number]} handle where the middle of the handle is in the window
 * @param {(at: {clientX: number, clientY: number}) => void} follow
 */
export function followPointer(surface, handle, follow) {
  const isOnHandle = ({ clientX, clientY }) => {
    const [x, y] = handle();
    return Math.hypot(clientX - x, clientY - y) <= REACH;
  };
  surface.addEventListener('pointerdown', (event) => {
    if (event.pointerType === 'touch' && !isOnHandle(event)) return;
    surface.setPointerCapture(event.pointerId);
    follow(event);
  });
  surface.addEventListener('pointermove', (event) => surface.hasPointerCapture(event.pointerId) && follow(event));
  // Not every browser says of a click what made it; after a mouse it asks for the place where the handle is.
  surface.addEventListener('click', follow);
  // A drag of the handle does not scroll.
  surface.addEventListener('touchstart', (event) => isOnHandle(event.touches[0]) && event.preventDefault(), { passive: false });
}
