// softmax(q kᵀ / √d) v. Each thread has one query of one head of one picture; the workgroup shares tiles of keys and
// values. Heads are padded with zeros to whole quads. The sums are rescaled when a larger score comes (online softmax);
// the first one is the first maximum: with a least number for it the exponent would overflow.
//
// The program writes out what stands behind `//@`, once for each quad `#` of a head, so that sums stay in registers.

// [row][q, k, v][HEADS][HEAD_QUADS]
@group(0) @binding(0) var<storage, read> qkv: array<vec4f>;
// [row][HEADS][HEAD_QUADS]
@group(0) @binding(1) var<storage, read_write> result: array<vec4f>;

var<workgroup> keys: array<vec4f, TILE_KEYS * HEAD_QUADS>;
var<workgroup> values: array<vec4f, TILE_KEYS * HEAD_QUADS>;

fn fill(picture: u32, head: u32, first: u32, thread: u32) {
  for (var i = thread; i < TILE_KEYS * HEAD_QUADS; i += THREADS) {
    let key = first + i / HEAD_QUADS;
    if key < TOKENS {
      let at = (((picture * TOKENS + key) * 3u + 1u) * HEADS + head) * HEAD_QUADS + i % HEAD_QUADS;
      keys[i] = qkv[at];
      values[i] = qkv[at + HEADS * HEAD_QUADS];
    }
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.y;
  let picture = group.z;
  // Threads beyond the last query repeat it: all must reach the barriers.
  let query = group.x * THREADS + thread;
  let row = picture * TOKENS + min(query, TOKENS - 1u);
  let base = (row * 3u * HEADS + head) * HEAD_QUADS;
  //@ let q# = qkv[base + #u] * SCALE;
  //@ var sum# = vec4f();
  var top = 0.0;
  var total = 0.0;
  for (var first = 0u; first < TOKENS; first += TILE_KEYS) {
    fill(picture, head, first, thread);
    workgroupBarrier();
    let count = min(TILE_KEYS, TOKENS - first);
    for (var key = 0u; key < count; key++) {
      let at = key * HEAD_QUADS;
      var score = 0.0;
      //@ score += dot(q#, keys[at + #u]);
      if first + key == 0u { top = score; }
      if score > top {
        let shrink = exp(top - score);
        top = score;
        total *= shrink;
        //@ sum# *= shrink;
      }
      let weight = exp(score - top);
      total += weight;
      //@ sum# += weight * values[at + #u];
    }
    workgroupBarrier();
  }
  if query < TOKENS {
    let to = (row * HEADS + head) * HEAD_QUADS;
    //@ result[to + #u] = sum# / total;
  }
}
