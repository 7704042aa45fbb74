//! Images as rows of patches, and back.

use super::NetConfig;
use crate::dual::Dual;

/// `[B, C, S, S]` → `[B, tokens, p·p·C]`: patches row by row, values inside a patch ordered (row, column, channel).
pub(super) fn patchify(z: Dual<4>, config: &NetConfig) -> Dual<3> {
    let NetConfig { channels, patch, .. } = *config;
    let [batch, side] = [z.dims()[0], config.side()];
    z.reshape([batch, channels, side, patch, side, patch]).permute([0, 2, 4, 3, 5, 1]).reshape([
        batch,
        side * side,
        config.patch_values(),
    ])
}

/// The inverse of [`patchify`].
pub(super) fn unpatchify(tokens: Dual<3>, config: &NetConfig) -> Dual<4> {
    let NetConfig { image_size, channels, patch, .. } = *config;
    let [batch, side] = [tokens.dims()[0], config.side()];
    tokens
        .reshape([batch, side, side, patch, patch, channels])
        .permute([0, 5, 1, 3, 2, 4])
        .reshape([batch, channels, image_size, image_size])
}
