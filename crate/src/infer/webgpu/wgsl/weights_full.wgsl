alias Quad = vec4f;
alias Quads = mat4x4f;
alias WeightQuad = vec4f;

fn unpack(quad: WeightQuad) -> Quad {
  return quad;
}
