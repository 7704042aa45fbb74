//! Decoders that others wrote, at whose boundary a panic is an error of the one file that caused it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is in a decoder, whose panics are not printed.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// What `decode` returns; a panic in it becomes the error `the decoder failed (…)` and prints nothing.
///
/// For code that keeps nothing between two calls: what it was working on is dropped.
///
/// # Errors
/// Those of `decode`, and its panic.
pub fn catch_decoder_panic<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !DECODING.get() {
                usual(panic);
            }
        }));
    });
    let outer = DECODING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(outer);
    result.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(format!("the decoder failed ({text})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_error_of_one_file() {
        assert_eq!(catch_decoder_panic(|| Ok(3)), Ok(3));
        assert_eq!(catch_decoder_panic(|| Err::<(), _>("no".into())), Err("no".into()));
        let empty: Vec<u8> = Vec::new();
        let error = catch_decoder_panic(|| Ok(empty[empty.len()])).expect_err("it panics");
        assert!(error.starts_with("the decoder failed (index out of bounds"), "{error}");
    }
}
