//! Text that others chose, such as names in archives and in weights files, made harmless where it is shown.

use std::borrow::Cow;

/// Text for a terminal or a log: every character that would act instead of being shown (C0 but for tab and line feed,
/// DEL, C1) or that would change the order in which others are read (the bidirectional controls) as `\u001b`, which
/// JSON takes for the same.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| acts(c) && !matches!(c, '\n' | '\t'))
}

/// The same of a name, which is one line wherever it stands.
pub fn name(text: &str) -> Cow<'_, str> {
    escaped(text, acts)
}

/// Text inside of an element or a quoted attribute of HTML, XML or SVG.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Text in a paragraph or a cell of Markdown, as itself: no mark-up, no HTML, no end of the cell or the line.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in name(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// Whether a character acts on a terminal, ends a line, or changes the direction of reading.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, which: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&which) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match which(c) {
            // All of them are of the first plane.
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_are_shown_and_others_are_as_they_were() {
        assert_eq!(visible("ünï 🦊 ‍|\tx\n"), "ünï 🦊 ‍|\tx\n");
        assert_eq!(
            visible("\u{1b}[31m\u{9b}1m\u{7f}\r\u{202e}\u{2066}"),
            r"\u001b[31m\u009b1m\u007f\u000d\u202e\u2066"
        );
        assert_eq!(name("a\nerror: b\t"), r"a\u000aerror: b\u0009");
        for c in (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32).filter(|c| !matches!(c, '\n' | '\t')) {
            assert!(!visible(&format!("a{c}b")).contains(c), "{c:?}");
            // Text that was JSON still is, and means the same.
            let json = format!("\"{}\"", visible(&c.to_string()));
            assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), c.to_string());
        }
    }

    #[test]
    fn marked_up_text_holds_no_mark_up() {
        assert_eq!(xml("<a b=\"c\" d='e'>&\u{1b}"), r"&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u001b");
        assert_eq!(markdown("<b>|x|\n# [h](y) `z` a_b"), r"&lt;b&gt;\|x\|\\u000a\# \[h\](y) \`z\` a\_b");
    }
}
