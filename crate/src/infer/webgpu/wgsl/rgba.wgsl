// Images in [−1, 1] as RGBA bytes: round(127.5 x + 127.5), grey repeated, opaque without an alpha channel.
@group(0) @binding(0) var<storage, read> z: array<f32>;
@group(0) @binding(1) var<storage, read_write> rgba: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let pixel = id.x;
  if pixel >= PIXELS { return; }
  let first = id.y * CHANNELS * PIXELS + pixel;
  var colour = vec4f(0, 0, 0, 1);
  for (var i = 0u; i < 4u; i++) {
    if i < CHANNELS { colour[i] = z[first + i * PIXELS]; }
    else if i < 3u { colour[i] = colour[0]; }
  }
  // Halves are rounded up, as natively; WGSL's own rounding would take the even neighbour.
  let bytes = vec4u(floor(clamp(127.5 * colour + 127.5, vec4f(0), vec4f(255)) + 0.5));
  rgba[id.y * PIXELS + pixel] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
