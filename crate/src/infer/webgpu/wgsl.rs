//! WGSL as browsers download it: without what only people read.

/// A file of `wgsl/`, or another one by its path.
macro_rules! wgsl {
    ($name:literal) => {
        wgsl!(file concat!("wgsl/", $name, ".wgsl"))
    };
    (file $path:expr) => {{
        const SOURCE: &str = include_str!($path);
        const SHORT: ([u8; SOURCE.len()], usize) = $crate::infer::webgpu::wgsl::shorten(SOURCE);
        const BYTES: &[u8; SHORT.1] = match SHORT.0.first_chunk() {
            Some(bytes) => bytes,
            None => panic!("it has become longer"),
        };
        const TEXT: &str = match std::str::from_utf8(BYTES) {
            Ok(text) => text,
            Err(_) => panic!("it ends within a letter"),
        };
        TEXT
    }};
}
pub(crate) use wgsl;

/// A source without comments but those of `//@`, without indentation and without empty lines; and how long it is.
pub(crate) const fn shorten<const LENGTH: usize>(source: &str) -> ([u8; LENGTH], usize) {
    let source = source.as_bytes();
    let (mut short, mut from, mut to, mut is_line_begun) = ([0; LENGTH], 0, 0, false);
    while from < LENGTH {
        let byte = source[from];
        if byte == b'/' && source[from + 1] == b'/' && source[from + 2] != b'@' {
            while source[from] != b'\n' {
                from += 1;
            }
            continue;
        }
        if is_line_begun || byte != b' ' && byte != b'\n' {
            short[to] = byte;
            to += 1;
            is_line_begun = byte != b'\n';
        }
        from += 1;
    }
    (short, to)
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn what_only_people_read_is_left_out() {
        const SOURCE: &str = "// √d\n\nfn f() {\n  let a = 1; // one\n  //@ a#\n  b / c\n}\n";
        let (short, length) = shorten::<{ SOURCE.len() }>(SOURCE);
        assert_eq!(str::from_utf8(&short[..length]), Ok("fn f() {\nlet a = 1; \n//@ a#\nb / c\n}\n"));
    }
}
