// The input are tokens over the root of their mean square, times a learned gain.
@group(0) @binding(3) var<storage, read> tokens: array<vec4f>;
@group(0) @binding(7) var<storage, read> gain: array<vec4f>;

const THREADS_PER_ROW = THREADS / TILE_ROWS;
var<workgroup> partials: array<f32, THREADS>;
// 1 / size of each row of the tile.
var<workgroup> scales: array<f32, TILE_ROWS>;

fn begin(first_row: u32, thread: u32) {
  let tile_row = thread / THREADS_PER_ROW;
  let row = first_row + tile_row;
  let first = thread % THREADS_PER_ROW;
  var sum = vec4f();
  if row < rows() {
    let token = source_row(row);
    for (var quad = first; quad < WIDTH_QUADS; quad += THREADS_PER_ROW) {
      let x = tokens[token * WIDTH_QUADS + quad];
      sum += x * x;
    }
  }
  partials[thread] = dot(sum, vec4f(1));
  workgroupBarrier();
  if first == 0u {
    var total = 0.0;
    for (var i = 0u; i < THREADS_PER_ROW; i++) { total += partials[tile_row * THREADS_PER_ROW + i]; }
    scales[tile_row] = inverseSqrt(total / f32(WIDTH_QUADS * 4u) + NORM_EPSILON);
  }
  workgroupBarrier();
}

fn input_quad(row: u32, tile_row: u32, quad: u32) -> vec4f {
  return tokens[source_row(row) * WIDTH_QUADS + quad] * scales[tile_row] * gain[quad];
}
