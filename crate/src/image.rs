//! Tensors to pictures: the only readback of inference.

use burn::tensor::Tensor;

use crate::error::Error;

/// Bytes of RGBA pictures, row by row, one picture after the other, straight alpha.
///
/// `x̂ = round(127.5 x + 127.5)`, clamped to 0–255. Grey is repeated; without an alpha channel alpha is 255.
///
/// # Shapes
/// `[batch, channels, height, width]` in `[−1, 1]`, with 1, 3 or 4 channels → `batch · height · width · 4` bytes.
///
/// # Errors
/// When the device cannot be read.
pub async fn to_rgba(images: Tensor<4>) -> Result<Vec<u8>, Error> {
    let [batch, channels, height, width] = images.dims();
    let pixels = height * width;
    let data = images.into_data_async().await.map_err(|e| Error::Device(e.to_string()))?;
    let values = data.convert::<f32>().try_into_vec::<f32>().map_err(|e| Error::Device(e.to_string()))?;
    Ok(rgba_of(&values, [batch, channels, pixels]))
}

/// The same for values one after the other, `[batch, channels, pixels]`.
pub(crate) fn rgba_of(values: &[f32], [batch, channels, pixels]: [usize; 3]) -> Vec<u8> {
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

/// The inverse of [`to_rgba`] for one byte: 0–255 to `[−1, 1]`.
pub fn from_byte(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}
