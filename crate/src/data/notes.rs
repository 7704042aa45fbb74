//! What a user should know about a set: which of its files are not part of it, and what was done to its images.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Names shown of each kind.
const SHOWN: usize = 3;

/// Gathered while a set is read.
#[derive(Default)]
pub(super) struct Notes {
    lines: RefCell<Vec<String>>,
    /// By the reason: how many files, and the names of the first.
    left_out: RefCell<BTreeMap<&'static str, (usize, Vec<String>)>>,
}

impl Notes {
    /// Keeps a line, once.
    pub fn say(&self, line: String) {
        let mut lines = self.lines.borrow_mut();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }

    /// Counts a file that is not part of the set; `kind` is what such files are called, in the plural.
    pub fn leave_out(&self, kind: &'static str, name: &str) {
        let mut left_out = self.left_out.borrow_mut();
        let (count, names) = left_out.entry(kind).or_default();
        *count += 1;
        if names.len() < SHOWN {
            names.push(name.to_owned());
        }
    }

    /// All of it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let left_out = self.left_out.borrow();
        let counted = left_out.iter().map(|(kind, (count, names))| {
            format!("left out: {count} {kind} ({})", some_of(names.iter().map(String::as_str), *count))
        });
        self.lines.borrow().iter().cloned().chain(counted).collect()
    }
}

/// The first few of `count` names, and how many more there are.
pub(super) fn some_of<'a>(names: impl Iterator<Item = &'a str>, count: usize) -> String {
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if count > SHOWN {
        text += &format!(" and {} more", count - SHOWN);
    }
    text
}
