// output = f(input) W + b for a tile of rows and columns. Each thread holds four rows of two quads (four columns each).
//
// What reads the input (`begin`, `input_quad`) and what takes the result (`store`) are in files of their own; the
// constants come from the program. All sums are f32.

struct Call {
  // Rows in use: of all tokens.
  rows: u32,
  // t - r of the step.
  span: f32,
  // What divides z - x where the network gives an image.
  divisor: f32,
  // Rows in use: of patches.
  patch_rows: u32,
}

@group(0) @binding(0) var<uniform> call: Call;
// [INPUT_QUADS * 4 up to a multiple of DEPTH][WEIGHT_QUADS], zero beyond the matrix.
@group(0) @binding(1) var<storage, read> weights: array<WeightQuad>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;

const DEPTH_QUADS = DEPTH / 4u;
// Threads side by side; the second quad of each is that many further.
const ACROSS = TILE_QUADS / 2u;
const THREADS = TILE_ROWS / 4u * ACROSS;

// Some implementations write zeros into workgroup memory element by element: keep it small.
var<workgroup> input_tile: array<Quad, TILE_ROWS * DEPTH_QUADS>;
var<workgroup> weight_tile: array<Quad, DEPTH * TILE_QUADS>;

fn fill(first_row: u32, first_quad: u32, step: u32, thread: u32) {
  for (var i = thread; i < TILE_ROWS * DEPTH_QUADS; i += THREADS) {
    let row = i / DEPTH_QUADS;
    let quad = step * DEPTH_QUADS + i % DEPTH_QUADS;
    var value = vec4f();
    if first_row + row < rows() && quad < INPUT_QUADS {
      value = input_quad(first_row + row, row, quad);
    }
    input_tile[i] = Quad(value);
  }
  for (var i = thread; i < DEPTH * TILE_QUADS; i += THREADS) {
    let at = (step * DEPTH + i / TILE_QUADS) * WEIGHT_QUADS + first_quad + i % TILE_QUADS;
    weight_tile[i] = unpack(weights[at]);
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_row = group.y * TILE_ROWS;
  let first_quad = group.x * TILE_QUADS;
  let quad = thread % ACROSS;
  let row = thread / ACROSS * 4u;
  begin(first_row, thread);
  var sum00 = vec4f();
  var sum01 = vec4f();
  var sum10 = vec4f();
  var sum11 = vec4f();
  var sum20 = vec4f();
  var sum21 = vec4f();
  var sum30 = vec4f();
  var sum31 = vec4f();
  for (var step = 0u; step * DEPTH_QUADS < INPUT_QUADS; step++) {
    fill(first_row, first_quad, step, thread);
    workgroupBarrier();
    for (var k = 0u; k < DEPTH_QUADS; k++) {
      let a0 = input_tile[row * DEPTH_QUADS + k];
      let a1 = input_tile[(row + 1u) * DEPTH_QUADS + k];
      let a2 = input_tile[(row + 2u) * DEPTH_QUADS + k];
      let a3 = input_tile[(row + 3u) * DEPTH_QUADS + k];
      let left = weights_at(k, quad);
      sum00 += vec4f(left * a0);
      sum10 += vec4f(left * a1);
      sum20 += vec4f(left * a2);
      sum30 += vec4f(left * a3);
      let right = weights_at(k, quad + ACROSS);
      sum01 += vec4f(right * a0);
      sum11 += vec4f(right * a1);
      sum21 += vec4f(right * a2);
      sum31 += vec4f(right * a3);
    }
    workgroupBarrier();
  }
  finish(first_row + row, first_quad + quad, sum00, sum10, sum20, sum30);
  finish(first_row + row, first_quad + quad + ACROSS, sum01, sum11, sum21, sum31);
}

// The weights of four inputs for a quad of outputs; times a quad of inputs they give their share of the outputs.
fn weights_at(k: u32, quad: u32) -> Quads {
  let at = k * 4u * TILE_QUADS + quad;
  return Quads(
    weight_tile[at],
    weight_tile[at + TILE_QUADS],
    weight_tile[at + 2u * TILE_QUADS],
    weight_tile[at + 3u * TILE_QUADS],
  );
}

fn finish(row: u32, quad: u32, sum0: vec4f, sum1: vec4f, sum2: vec4f, sum3: vec4f) {
  if quad >= OUTPUT_QUADS { return; }
  let b = bias[quad];
  if row < rows() { store(row, quad, sum0 + b); }
  if row + 1u < rows() { store(row + 1u, quad, sum1 + b); }
  if row + 2u < rows() { store(row + 2u, quad, sum2 + b); }
  if row + 3u < rows() { store(row + 3u, quad, sum3 + b); }
}
