// The result multiplies what is there, as the gated MLP does.
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;

fn store(row: u32, quad: u32, value: vec4f) {
  result[row * OUTPUT_QUADS + quad] *= value;
}
