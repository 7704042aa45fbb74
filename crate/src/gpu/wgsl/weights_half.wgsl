// Two half-precision numbers a word, as in the file: their values are those of f32, and no feature is needed.
alias WeightQuad = vec2u;

fn unpack(packed: WeightQuad) -> vec4f {
  return vec4f(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
