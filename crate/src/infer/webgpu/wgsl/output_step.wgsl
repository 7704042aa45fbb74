// Tokens become patches, and the images take the step z −= (t − r) u at once: no other thread reads these pixels.
@group(0) @binding(4) var<storage, read_write> z: array<f32>;

fn store(row: u32, quad: u32, value: vec4f) {
  for (var i = 0u; i < 4u; i++) {
    if quad * 4u + i < PATCH_VALUES {
      let at = pixel(row, quad * 4u + i);
      z[at] -= call.span * velocity(z[at], value[i]);
    }
  }
}
