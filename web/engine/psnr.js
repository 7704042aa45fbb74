/**
 * Peak signal-to-noise ratio in dB of two pictures in bytes: infinite when they are equal, 0 when they cannot be
 * compared.
 * @param {ArrayLike<number> | undefined} a
 * @param {ArrayLike<number> | undefined} b
 */
export function psnr(a, b) {
  if (!a || !b || a.length !== b.length) return 0;
  let squares = 0;
  for (let i = 0; i < a.length; i++) squares += (a[i] - b[i]) ** 2;
  return squares === 0 ? Infinity : 10 * Math.log10(255 ** 2 / (squares / a.length));
}
