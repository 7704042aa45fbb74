//! Files and terminals: the one way in which the program writes a file, what it refuses to write onto, how it shows
//! text that others chose, and how much memory it asks for. Native only.
//!
//! `clippy.toml` forbids the functions of the standard library that write files everywhere else.

mod decoder;
mod escape;
mod foreign;
pub mod grid;
mod inflate;
mod input;
mod memory;
mod output;
#[cfg_attr(not(unix), path = "system_not_unix.rs")]
pub mod system;
mod write;

pub use decoder::catch_decoder_panic;
pub use escape::{markdown, name, visible, xml};
pub use foreign::{foreign, lfs_pointer};
pub use inflate::{Inflated, is_bomb};
pub use input::{SafetensorsFile, open_regular, read_whole};
pub use memory::{MAX_PIXELS, check_memory, max_memory, parse_size, set_max_memory};
pub use output::{check_extension, check_not_input, lies_in, resolve};
#[cfg(test)]
pub(crate) use write::recorded_calls;
pub use write::{
    AtomicFile, AtomicFolder, append, copy, create_folder, exit_without_leftovers, is_temporary, remove_folder, rename,
    sync_folder, write_atomic, write_new,
};
