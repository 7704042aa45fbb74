// Queries and keys of one head of a token, over the root of their mean square, times a learned gain; then neighbouring
// pairs of features turn by the token's place. Each thread has one head.

// [row][q, k, v][HEADS][HEAD_QUADS]
@group(0) @binding(0) var<storage, read_write> qkv: array<vec4f>;
// [q, k][HEAD_QUADS]
@group(0) @binding(1) var<storage, read> gains: array<vec4f>;
// [token][HEAD_QUADS]: cosine and sine of two pairs.
@group(0) @binding(2) var<storage, read> turns: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let part = id.x / HEADS;
  if part >= 2u * TOKENS { return; }
  let token = part / 2u;
  let base = (((id.y * TOKENS + token) * 3u + part % 2u) * HEADS + id.x % HEADS) * HEAD_QUADS;
  var sum = vec4f();
  for (var quad = 0u; quad < HEAD_QUADS; quad++) { sum += qkv[base + quad] * qkv[base + quad]; }
  let scale = inverseSqrt(dot(sum, vec4f(1)) / f32(HEAD_QUADS * 4u) + NORM_EPSILON);
  for (var quad = 0u; quad < HEAD_QUADS; quad++) {
    let x = qkv[base + quad] * scale * gains[part % 2u * HEAD_QUADS + quad];
    let turn = turns[token * HEAD_QUADS + quad];
    qkv[base + quad] = vec4f(
      x.x * turn.x - x.y * turn.y,
      x.y * turn.x + x.x * turn.y,
      x.z * turn.z - x.w * turn.w,
      x.w * turn.z + x.z * turn.w,
    );
  }
}
