// The input is a matrix of rows.
@group(0) @binding(3) var<storage, read> tokens: array<vec4f>;

fn begin(first_row: u32, thread: u32) {}

fn input_quad(row: u32, tile_row: u32, quad: u32) -> vec4f {
  return tokens[row * INPUT_QUADS + quad];
}
