//! Lines for whoever started the program. Standard output and standard error may go away or fill up while it works
//! (`| head`, a terminal that closes, a full disk behind `> log`): that ends no work and is no panic, as it would be
//! with `println!`. Text that others chose, such as names in archives, is made [`visible`] here, so that it cannot act
//! on the terminal.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use meanflow::io::visible;

/// Prints a line to standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::terminal::say(format_args!($($text)*)) };
}

/// Prints a line to standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::terminal::note(format_args!($($text)*)) };
}

/// Why standard output could not be written, for the first time.
static LOST: OnceLock<String> = OnceLock::new();

/// What `say!` does.
pub(crate) fn say(text: Arguments) {
    if let Err(error) = line(&mut io::stdout(), &visible(&text.to_string()))
        // Nobody reads any more, as with `| head`: what is not read is not missed.
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error.to_string());
    }
}

/// What `note!` does. Further lines are set in, so that a name with a line feed in it cannot pass for a message of its
/// own.
pub(crate) fn note(text: Arguments) {
    let _ = line(&mut io::stderr(), &visible(&text.to_string()).replace('\n', "\n  "));
}

/// Why some of standard output is missing where somebody will look for it, such as a full disk.
pub(crate) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

fn line(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(format!("{text}\n").as_bytes()).and_then(|()| to.flush())
}
