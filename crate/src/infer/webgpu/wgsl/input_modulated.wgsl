// The input are tokens, normalised over their width and modulated: x̂ (1 + scale) + shift. The first UNMODULATED tokens
// of a picture, its text tokens, are normalised alone.
@group(0) @binding(3) var<storage, read> tokens: array<vec4f>;

const THREADS_PER_ROW = THREADS / TILE_ROWS;
var<workgroup> partials: array<f32, THREADS>;
// Mean and 1 / deviation of each row of the tile.
var<workgroup> moments: array<vec2f, TILE_ROWS>;

fn begin(first_row: u32, thread: u32) {
  let tile_row = thread / THREADS_PER_ROW;
  let row = first_row + tile_row;
  let first = thread % THREADS_PER_ROW;
  var sum = vec4f();
  if row < rows() {
    for (var quad = first; quad < WIDTH_QUADS; quad += THREADS_PER_ROW) { sum += tokens[source_row(row) * WIDTH_QUADS + quad]; }
  }
  partials[thread] = dot(sum, vec4f(1));
  workgroupBarrier();
  let mean = row_total(tile_row) / f32(WIDTH_QUADS * 4u);
  workgroupBarrier();
  sum = vec4f();
  if row < rows() {
    for (var quad = first; quad < WIDTH_QUADS; quad += THREADS_PER_ROW) {
      let centred = tokens[source_row(row) * WIDTH_QUADS + quad] - mean;
      sum += centred * centred;
    }
  }
  partials[thread] = dot(sum, vec4f(1));
  workgroupBarrier();
  if first == 0u {
    let variance = row_total(tile_row) / f32(WIDTH_QUADS * 4u);
    moments[tile_row] = vec2f(mean, inverseSqrt(variance + NORM_EPSILON));
  }
  workgroupBarrier();
}

fn row_total(tile_row: u32) -> f32 {
  var total = 0.0;
  for (var i = 0u; i < THREADS_PER_ROW; i++) { total += partials[tile_row * THREADS_PER_ROW + i]; }
  return total;
}

fn input_quad(row: u32, tile_row: u32, quad: u32) -> vec4f {
  let normal = (tokens[source_row(row) * WIDTH_QUADS + quad] - moments[tile_row].x) * moments[tile_row].y;
  let token = source_row(row);
  if token % TOKENS < UNMODULATED { return normal; }
  return normal * (1.0 + modulation(token, SHIFT + 1u, quad)) + modulation(token, SHIFT, quad);
}
