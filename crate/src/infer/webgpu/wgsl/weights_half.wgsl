alias Quad = vec4f;
alias Quads = mat4x4f;
// Two half-precision numbers a word, as in the file: their values are those of f32, and no feature is needed.
alias WeightQuad = vec2u;

fn unpack(packed: WeightQuad) -> Quad {
  return vec4f(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
