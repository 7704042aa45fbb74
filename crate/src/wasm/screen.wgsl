// RGBA bytes over a whole canvas: one triangle that covers it, and its colours multiplied by their alpha, as canvases want.
@group(0) @binding(0) var<storage, read> rgba: array<u32>;

@vertex
fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
  return vec4f(f32((i << 1u) & 2u) * 2.0 - 1.0, f32(i & 2u) * 2.0 - 1.0, 0.0, 1.0);
}

@fragment
fn pixel(@builtin(position) at: vec4f) -> @location(0) vec4f {
  let colour = unpack4x8unorm(rgba[u32(at.y) * EDGE + u32(at.x)]);
  return vec4f(colour.rgb * colour.a, colour.a);
}
