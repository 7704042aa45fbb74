//! A panic of a decoder is an error about the file that it read, not the end of the program.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught here, so that nothing of it belongs on the terminal.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder of a library on bytes that may be damaged; the reason where it panics. What `work` was changing is to
/// be dropped then.
pub(crate) fn isolate<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                before(panic);
            }
        }));
    });
    let outer = IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(outer);
    result.unwrap_or_else(|panic| Err(format!("its decoder fails ({})", message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panics")
}

#[cfg(test)]
mod tests {
    use super::isolate;

    #[test]
    fn a_panic_is_an_error() {
        let empty: [u8; 0] = [];
        let index = empty.len() + 3;
        let error = isolate(|| Ok(empty[index])).expect_err("there is no such byte");
        assert!(error.contains("its decoder fails (index out of bounds"), "{error}");
        assert_eq!(isolate(|| Ok(7)), Ok(7));
    }
}
