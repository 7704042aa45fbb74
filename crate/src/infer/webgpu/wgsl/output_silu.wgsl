// SiLU, x σ(x); the exponent is clamped so that nothing overflows.
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;

fn store(row: u32, quad: u32, x: vec4f) {
  result[row * OUTPUT_QUADS + quad] = x / (1.0 + exp(min(-x, vec4f(80))));
}
