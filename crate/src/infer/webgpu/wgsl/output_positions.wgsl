// Patches become tokens: the place of each is added.
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
@group(0) @binding(5) var<storage, read> positions: array<vec4f>;

fn store(row: u32, quad: u32, value: vec4f) {
  result[token_of(row) * OUTPUT_QUADS + quad] = value + positions[row % PATCHES * OUTPUT_QUADS + quad];
}
