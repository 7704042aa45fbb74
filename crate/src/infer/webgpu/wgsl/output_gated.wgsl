// A block's branch joins the tokens: x += gate · value.
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;

fn store(row: u32, quad: u32, value: vec4f) {
  result[row * OUTPUT_QUADS + quad] += modulation(row, GATE, quad) * value;
}
