// GELU in its tanh form, x σ(κ (x + c x³)); the exponent is clamped so that nothing overflows.
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;

fn store(row: u32, quad: u32, x: vec4f) {
  let slope = 1.5957691216057307 + 1.5957691216057307 * 0.044715 * x * x;
  result[row * OUTPUT_QUADS + quad] = x / (1.0 + exp(min(-x * slope, vec4f(80))));
}
