// A block's branch joins the tokens: x += scale · value, with a learned vector.
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
@group(0) @binding(5) var<storage, read> scale: array<vec4f>;

fn store(row: u32, quad: u32, value: vec4f) {
  result[row * OUTPUT_QUADS + quad] += scale[quad] * value;
}
