// The input are the patches of the images z, row by row, their values ordered (row, column, channel).
@group(0) @binding(3) var<storage, read> z: array<f32>;

fn begin(first_row: u32, thread: u32) {}

fn input_quad(row: u32, tile_row: u32, quad: u32) -> vec4f {
  var values = vec4f();
  for (var i = 0u; i < 4u; i++) {
    if quad * 4u + i < PATCH_VALUES { values[i] = z[pixel(row, quad * 4u + i)]; }
  }
  return values;
}
