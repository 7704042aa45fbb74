fn velocity(z: f32, output: f32) -> f32 {
  return (z - output) / call.divisor;
}
