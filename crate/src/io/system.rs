//! What Unix has of its own: modes of files, signals, and how a program begins anew.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use tempfile::Builder;

/// The mode that files have where nobody says otherwise; the temporary ones of a library are private.
pub(super) fn usual_file_mode(builder: &mut Builder<'_, '_>) {
    // The system takes out what the user's mask forbids.
    builder.permissions(Permissions::from_mode(0o666));
}

/// The same for folders.
pub(super) fn usual_folder_mode(builder: &mut Builder<'_, '_>) {
    builder.permissions(Permissions::from_mode(0o777));
}

/// Whether an open file is still the one of this path.
pub fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Calls `handle` at each request to end: Ctrl-C, SIGTERM of schedulers, and SIGHUP when the terminal goes away, unless
/// the program runs under `nohup`, which is to say that it goes on then.
///
/// # Errors
/// When the system refuses.
pub fn on_end(mut handle: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let hangs_up = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM].into_iter().chain(hangs_up))?;
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || signals.forever().for_each(|_| handle())).map(drop)
}

/// Makes a limit of the size of files (`ulimit -f`) an error of the write, where it would end the program at once and
/// leave half a file.
pub fn report_file_limits() {
    const SIGXFSZ: i32 = 25;
    if cfg!(any(target_os = "linux", target_os = "macos")) {
        // Where it cannot be had, such a limit ends the program as before.
        let _ = signal_hook::flag::register(SIGXFSZ, Default::default());
    }
}

/// Whether whoever started the program has it ignore a signal. Only Linux tells.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Begins the program again, as the same process, with one more variable in its environment, unless it has it: for
/// what is read before `main`. Where the program cannot begin again, it goes on without.
pub fn restart_with(name: &str, value: &str) {
    let mut given = std::env::args_os();
    if let (None, Ok(program), Some(called)) = (std::env::var_os(name), std::env::current_exe(), given.next()) {
        let _ = std::process::Command::new(program).arg0(called).args(given).env(name, value).exec();
    }
}
