// Which of the CPU's two builds a browser takes.

/** A module of one function, which multiplies and adds at once (`f32x4.relaxed_madd` of relaxed SIMD). */
const FUSED_MULTIPLICATION = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0,
  65, 1, 253, 15, 65, 1, 253, 15, 65, 1, 253, 15, 253, 133, 2, 11,
);

/** Whether this browser runs the CPU's build with fused multiplications, `relaxed`, which is faster than `cpu`. */
export const fusesMultiplications = () => Boolean(globalThis.WebAssembly?.validate(FUSED_MULTIPLICATION));

/** The build of a backend for this browser. @param {import('./types.js').Backend} backend */
export const buildFor = (backend) => (backend === 'cpu' && fusesMultiplications() ? 'relaxed' : backend);
