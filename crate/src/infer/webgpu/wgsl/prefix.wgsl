// The tokens in front of the patches, from the slot of each picture.
@group(0) @binding(0) var<storage, read> prefixes: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> tokens: array<vec4f>;
@group(0) @binding(5) var<storage, read> slots: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let quad = id.x;
  if quad >= PREFIX * WIDTH_QUADS { return; }
  let picture = id.y;
  tokens[picture * TOKENS * WIDTH_QUADS + quad] = prefixes[slots[picture] * PREFIX * WIDTH_QUADS + quad];
}
