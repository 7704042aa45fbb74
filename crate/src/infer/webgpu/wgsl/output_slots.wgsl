// Each row is the modulation of one slot.
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
@group(0) @binding(5) var<storage, read> targets: array<u32>;

fn store(row: u32, quad: u32, value: vec4f) {
  result[targets[row] * OUTPUT_QUADS + quad] = value;
}
