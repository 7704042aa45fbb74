// output = f(input) W + b for a tile of rows and columns. Each thread holds four rows of one quad (four columns).
//
// What reads the input (`begin`, `input_quad`) and what takes the result (`store`) are in files of their own; the
// constants come from the program. All sums are f32.

struct Call {
  // Rows of the input in use.
  rows: u32,
  // t - r of the step.
  span: f32,
  // What divides z - x where the network gives an image.
  divisor: f32,
}

@group(0) @binding(0) var<uniform> call: Call;
// [INPUT_QUADS * 4 up to a multiple of DEPTH][WEIGHT_QUADS], zero beyond the matrix.
@group(0) @binding(1) var<storage, read> weights: array<WeightQuad>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;

const DEPTH_QUADS = DEPTH / 4u;
// One quad more than needed, so that neighbouring rows do not meet in one memory bank.
const PITCH = DEPTH_QUADS + 1u;
const THREADS = TILE_ROWS / 4u * TILE_QUADS;

var<workgroup> input_tile: array<vec4f, TILE_ROWS * PITCH>;
var<workgroup> weight_tile: array<vec4f, DEPTH * TILE_QUADS>;

fn fill(first_row: u32, first_quad: u32, step: u32, thread: u32) {
  for (var i = thread; i < TILE_ROWS * DEPTH_QUADS; i += THREADS) {
    let row = i / DEPTH_QUADS;
    let quad = step * DEPTH_QUADS + i % DEPTH_QUADS;
    var value = vec4f();
    if first_row + row < call.rows && quad < INPUT_QUADS {
      value = input_quad(first_row + row, row, quad);
    }
    input_tile[row * PITCH + i % DEPTH_QUADS] = value;
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
  let quad = thread % TILE_QUADS;
  let row = thread / TILE_QUADS * 4u;
  begin(first_row, thread);
  var sum0 = vec4f();
  var sum1 = vec4f();
  var sum2 = vec4f();
  var sum3 = vec4f();
  for (var step = 0u; step * DEPTH_QUADS < INPUT_QUADS; step++) {
    fill(first_row, first_quad, step, thread);
    workgroupBarrier();
    for (var k = 0u; k < DEPTH_QUADS; k++) {
      let at = k * 4u * TILE_QUADS + quad;
      let w0 = weight_tile[at];
      let w1 = weight_tile[at + TILE_QUADS];
      let w2 = weight_tile[at + 2u * TILE_QUADS];
      let w3 = weight_tile[at + 3u * TILE_QUADS];
      let a0 = input_tile[row * PITCH + k];
      let a1 = input_tile[(row + 1u) * PITCH + k];
      let a2 = input_tile[(row + 2u) * PITCH + k];
      let a3 = input_tile[(row + 3u) * PITCH + k];
      sum0 += a0.x * w0 + a0.y * w1 + a0.z * w2 + a0.w * w3;
      sum1 += a1.x * w0 + a1.y * w1 + a1.z * w2 + a1.w * w3;
      sum2 += a2.x * w0 + a2.y * w1 + a2.z * w2 + a2.w * w3;
      sum3 += a3.x * w0 + a3.y * w1 + a3.z * w2 + a3.w * w3;
    }
    workgroupBarrier();
  }
  let column = first_quad + quad;
  if column < OUTPUT_QUADS {
    let b = bias[column];
    let top = first_row + row;
    if top < call.rows { store(top, column, sum0 + b); }
    if top + 1u < call.rows { store(top + 1u, column, sum1 + b); }
    if top + 2u < call.rows { store(top + 2u, column, sum2 + b); }
    if top + 3u < call.rows { store(top + 3u, column, sum3 + b); }
  }
}
