enable f16;
// Half-precision numbers, multiplied as such: sums of four products, which `f32` then adds up.
alias Quad = vec4<f16>;
alias Quads = mat4x4<f16>;
alias WeightQuad = vec4<f16>;

fn unpack(quad: WeightQuad) -> Quad {
  return quad;
}
