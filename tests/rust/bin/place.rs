//! A folder of a test: small pictures, and settings for a tiny network.

use std::fs;

use image::{Rgba, RgbaImage};

pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.dir.path().join(name), bytes).expect("it writes");
        self.path(name)
    }

    /// A folder of two classes of small pictures, and settings for a tiny network.
    pub fn images(&self) -> (String, String) {
        for (class, colour) in [("moss", [20, 160, 40, 255]), ("rust", [180, 70, 20, 255])] {
            let folder = self.dir.path().join("images").join(class);
            fs::create_dir_all(&folder).expect("a folder");
            for i in 0..6 {
                let picture = RgbaImage::from_fn(8, 8, |x, y| if x + y < i { Rgba([0; 4]) } else { Rgba(colour) });
                picture.save(folder.join(format!("{i}.png"))).expect("it writes");
            }
        }
        (self.path("images"), self.file("tiny.toml", TINY))
    }
}

/// Settings for a tiny network.
pub const TINY: &str = r#"
name = "tiny"
card = { license = "CC0-1.0", source = "a test", description = "two colours" }
data = { size = 8 }
net = { patch = 4, width = 16, depth = 1, heads = 2 }
train = { steps = 6, batch_size = 4, flow_matching_steps = 2, ramp_steps = 2 }
log = { every = 2, sample_every = 6, samples = 4, checkpoint_every = 3 }
"#;
