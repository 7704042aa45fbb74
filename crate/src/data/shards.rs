//! Archives that are one set together, as WebDataset ships them: a folder of them, or a list written
//! `train-{000000..000009}.tar`.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::notes::Notes;
use super::{DataConfig, layout, paths};

/// Lists longer than this are a slip of the pen.
const MAX_SHARDS: usize = 1 << 20;

/// The files that a path with braces stands for; `None` where it is one file or folder, or nothing can be made of it.
pub(super) fn expand(path: &Path) -> Option<Vec<PathBuf>> {
    let text = path.to_str().filter(|text| text.contains('{') && !path.exists())?;
    expand_text(text).map(|texts| texts.into_iter().map(PathBuf::from).collect())
}

/// `a{0..2}b` to a0b, a1b and a2b, `{x,y}` to x and y, from left to right.
fn expand_text(text: &str) -> Option<Vec<String>> {
    let Some((start, rest)) = text.split_once('{') else { return Some(vec![text.to_owned()]) };
    let (inside, end) = rest.split_once('}')?;
    let choices: Vec<String> = match inside.split_once("..") {
        Some((first, last)) => {
            let (from, to): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            let width = if first.starts_with('0') { first.len() } else { 0 };
            let count = to.checked_sub(from).filter(|&count| count < MAX_SHARDS)?;
            (0..=count).map(|i| format!("{:0width$}", from + i)).collect()
        }
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let ends = expand_text(end)?;
    if choices.len().checked_mul(ends.len())? > MAX_SHARDS {
        return None;
    }
    Some(choices.iter().flat_map(|choice| ends.iter().map(move |end| format!("{start}{choice}{end}"))).collect())
}

/// What an archive is called among others.
pub(super) fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| paths::text(name.as_encoded_bytes())).unwrap_or_default();
    let end = name.find('.').filter(|&end| end > 0).unwrap_or(name.len());
    name[..end].to_owned()
}

/// The archives of the split to take, in order, and whether their names told one.
pub(super) fn choose(
    mut archives: Vec<PathBuf>,
    config: &DataConfig,
    notes: &Notes,
) -> Result<(Vec<PathBuf>, bool), DataError> {
    archives.sort();
    let splits: Vec<Option<String>> =
        archives.iter().map(|path| layout::split_of_file(&stem(path)).map(str::to_owned)).collect();
    if splits.iter().all(Option::is_none) {
        return Ok((archives, false));
    }
    let takes = layout::choose(&splits, config.split.as_deref(), "archives", notes)?;
    let taken = archives.into_iter().zip(takes).filter_map(|(archive, takes)| takes.then_some(archive));
    Ok((taken.collect(), true))
}

#[cfg(test)]
mod tests {
    use super::expand_text;

    #[test]
    fn braces_stand_for_lists() {
        let expanded = |text| expand_text(text).map(|texts| texts.join(" ")).unwrap_or_default();
        assert_eq!(expanded("d/a-{08..11}.tar"), "d/a-08.tar d/a-09.tar d/a-10.tar d/a-11.tar");
        assert_eq!(expanded("{a,b}{0..1}"), "a0 a1 b0 b1");
        assert_eq!(expanded("plain"), "plain");
        assert_eq!(["{5..1}", "{a..b}", "{1", "{0..99999999}"].map(expand_text), [const { None }; 4]);
    }
}
