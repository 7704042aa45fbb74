// A handle that is dragged over a surface, by a mouse or a finger, without keeping a finger from scrolling the page.

/** How far from the middle of the handle a finger takes hold of it, in CSS pixels. */
const REACH = 28;

/** @typedef {{clientX: number, clientY: number}} Pointed a point in the window */

/**
 * Has a handle follow the pointer. A mouse moves it from anywhere on the surface; a finger that begins on it drags it,
 * a tap moves it, and a swipe that begins elsewhere scrolls the page.
 * @param {HTMLElement | SVGElement} surface
 * @param {() => number[]} handle where the middle of the handle is in the window
 * @param {(at: Pointed) => void} follow
 */
export function followPointer(surface, handle, follow) {
  /**
   * @template {keyof GlobalEventHandlersEventMap} Type
   * @param {Type} type
   * @param {(event: GlobalEventHandlersEventMap[Type]) => void} listen
   * @param {AddEventListenerOptions} [options]
   */
  const on = (type, listen, options) => surface.addEventListener(type, /** @type {EventListener} */ (listen), options);
  const isOnHandle = (/** @type {Pointed} */ { clientX, clientY }) => {
    const [x, y] = handle();
    return Math.hypot(clientX - x, clientY - y) <= REACH;
  };
  /**
   * The pointer that drags: a finger is captured from its first touch on, also where it only scrolls.
   * @type {number | undefined}
   */
  let dragging;
  on('pointerdown', (event) => {
    if (event.pointerType === 'touch' && !isOnHandle(event)) return;
    dragging = event.pointerId;
    surface.setPointerCapture(dragging);
    follow(event);
  });
  on('pointermove', (event) => event.pointerId === dragging && follow(event));
  on('lostpointercapture', ({ pointerId }) => (dragging = pointerId === dragging ? undefined : dragging));
  // Not every browser says of a click what made it; after a mouse it asks for the place where the handle is.
  on('click', follow);
  // A drag of the handle does not scroll.
  on('touchstart', (event) => isOnHandle(event.touches[0]) && event.preventDefault(), { passive: false });
}
