//! Values in `[−1, 1]` to bytes of pictures, and back.

/// Bytes of RGBA pictures, row by row, one picture after the other, straight alpha.
///
/// # Shapes
/// `values`: `[batch, channels, pixels]`; result: `4 · batch · pixels`.
///
/// `x̂ = round(127.5 x + 127.5)`, clamped to 0–255. Grey is repeated; without an alpha channel alpha is 255.
pub fn rgba_of(values: &[f32], [batch, channels, pixels]: [usize; 3]) -> Vec<u8> {
    let byte = |x: f32| (127.5 * x + 127.5).round().clamp(0.0, 255.0) as u8;
    let mut rgba = Vec::with_capacity(batch * pixels * 4);
    for image in values.chunks_exact(channels * pixels) {
        for i in 0..pixels {
            let channel = |c: usize| byte(image[c * pixels + i]);
            rgba.extend(match channels {
                1 => [channel(0), channel(0), channel(0), 255],
                3 => [channel(0), channel(1), channel(2), 255],
                _ => [channel(0), channel(1), channel(2), channel(3)],
            });
        }
    }
    rgba
}

/// The inverse of [`rgba_of`] for one byte: 0–255 to `[−1, 1]`.
pub fn from_byte(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}
