//! What happens when the program is asked to end, or a file may grow no further.

use std::io;

/// Calls `handle` at each request to end: Ctrl-C, SIGTERM of schedulers, and SIGHUP when the terminal goes away, unless
/// the program runs under `nohup`, which is to say that it goes on then.
///
/// # Errors
/// When the system refuses.
#[cfg(unix)]
pub fn on_end(mut handle: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let hangs_up = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM].into_iter().chain(hangs_up))?;
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || signals.forever().for_each(|_| handle())).map(drop)
}

#[cfg(not(unix))]
pub fn on_end(handle: impl FnMut() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(handle).map_err(io::Error::other)
}

/// Makes a limit of the size of files (`ulimit -f`) an error of the write, where it would end the program at once and
/// leave half a file.
pub fn report_file_limits() {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        const SIGXFSZ: i32 = 25;
        // Where it cannot be had, such a limit ends the program as before.
        let _ = signal_hook::flag::register(SIGXFSZ, Default::default());
    }
}

/// Whether whoever started the program has it ignore a signal. Only Linux tells.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
