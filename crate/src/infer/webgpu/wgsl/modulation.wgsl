// The part of a block's modulation that belongs to a picture: PARTS vectors of WIDTH_QUADS quads in each slot.
@group(0) @binding(5) var<storage, read> slots: array<u32>;
@group(0) @binding(6) var<storage, read> modulations: array<vec4f>;

fn modulation(row: u32, part: u32, quad: u32) -> vec4f {
  return modulations[(slots[row / TOKENS] * PARTS + part) * WIDTH_QUADS + quad];
}
