//! JSON for the page's engines, in little code. What serde derives for the same files reads them natively; the fuzz
//! test holds both to one answer.

use std::borrow::Cow;

use hifijson::token::Lex;
use hifijson::{SliceLexer, value};

/// A value that was read.
pub(super) type Json<'text> = value::Value<&'text str, Cow<'text, str>>;

/// Arrays and objects within one another; serde_json's bound.
const DEPTH: usize = 128;

/// The one value of a text.
///
/// # Errors
/// What is no JSON.
pub(super) fn parse(text: &[u8]) -> Result<Json<'_>, String> {
    SliceLexer::new(text)
        .exactly_one(SliceLexer::ws_peek, |next, lexer| value::parse_bounded(DEPTH, next, lexer))
        // In a word: where in a text of one line a character is wrong helps nobody.
        .map_err(|_| "no JSON".into())
}

/// What can be read from JSON.
pub(super) trait FromJson: Sized {
    /// # Errors
    /// Says what was expected instead.
    fn from_json(json: Json) -> Result<Self, String>;
}

/// The entries of an object, each of which is taken once. What takes them is not inlined: it would be there for every
/// entry.
pub(super) struct Entries<'text>(Vec<(Cow<'text, str>, Json<'text>)>);

impl<'text> Entries<'text> {
    /// # Errors
    /// When it is no object.
    pub fn of(json: Json<'text>) -> Result<Self, String> {
        match json {
            Json::Object(entries) => Ok(Self(entries)),
            _ => Err("expected an object".into()),
        }
    }

    /// An entry that need not be there.
    ///
    /// # Errors
    /// When it is something else, or there twice.
    #[inline(never)]
    pub fn optional<T: FromJson>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(value) = self.take(name)? else { return Ok(None) };
        T::from_json(value).map(Some).map_err(|wrong| within(name, &wrong))
    }

    /// The value of an entry.
    #[inline(never)]
    fn take(&mut self, name: &str) -> Result<Option<Json<'text>>, String> {
        let mut found = None;
        while let Some(at) = self.0.iter().position(|(key, _)| key == name) {
            let (_, value) = self.0.swap_remove(at);
            if found.replace(value).is_some() {
                return Err(format!("duplicate field `{name}`"));
            }
        }
        Ok(found)
    }

    /// An entry.
    ///
    /// # Errors
    /// As [`Self::optional`], and when it is missing.
    #[inline(never)]
    pub fn required<T: FromJson>(&mut self, name: &str) -> Result<T, String> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }

    /// An entry that has a default.
    ///
    /// # Errors
    /// As [`Self::optional`].
    #[inline(never)]
    pub fn or_default<T: FromJson + Default>(&mut self, name: &str) -> Result<T, String> {
        Ok(self.optional(name)?.unwrap_or_default())
    }

    /// What has not been taken.
    pub fn rest(self) -> impl Iterator<Item = (Cow<'text, str>, Json<'text>)> {
        self.0.into_iter()
    }

    /// The end of an object that may have no other entries.
    ///
    /// # Errors
    /// Names one that has not been taken.
    pub fn end(self) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("unknown field `{name}`")),
            None => Ok(()),
        }
    }
}

#[inline(never)]
fn within(name: &str, wrong: &str) -> String {
    format!("{name}: {wrong}")
}

#[inline(never)]
fn missing(name: &str) -> String {
    format!("missing field `{name}`")
}

impl FromJson for u64 {
    fn from_json(json: Json) -> Result<Self, String> {
        let Json::Number((digits, _)) = json else { return Err("expected a whole number".into()) };
        digits.parse().map_err(|_| format!("expected a whole number, not {digits}"))
    }
}

impl FromJson for u32 {
    fn from_json(json: Json) -> Result<Self, String> {
        smaller(json)
    }
}

impl FromJson for usize {
    fn from_json(json: Json) -> Result<Self, String> {
        smaller(json)
    }
}

/// A whole number of a type that does not hold all of them.
fn smaller<T: TryFrom<u64>>(json: Json) -> Result<T, String> {
    u64::from_json(json)?.try_into().map_err(|_| "a number too large".into())
}

impl FromJson for f64 {
    fn from_json(json: Json) -> Result<Self, String> {
        let Json::Number((text, _)) = json else { return Err("expected a number".into()) };
        let number = decimal(text);
        if number.is_finite() { Ok(number) } else { Err("a number too large".into()) }
    }
}

impl FromJson for f32 {
    fn from_json(json: Json) -> Result<Self, String> {
        f64::from_json(json).map(|x| x as Self)
    }
}

impl FromJson for bool {
    fn from_json(json: Json) -> Result<Self, String> {
        match json {
            Json::Bool(is) => Ok(is),
            _ => Err("expected true or false".into()),
        }
    }
}

impl FromJson for String {
    fn from_json(json: Json) -> Result<Self, String> {
        match json {
            Json::String(text) => Ok(text.into_owned()),
            _ => Err("expected a text".into()),
        }
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(json: Json) -> Result<Self, String> {
        match json {
            Json::Array(items) => items.into_iter().map(T::from_json).collect(),
            _ => Err("expected a list".into()),
        }
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(json: Json) -> Result<Self, String> {
        match json {
            Json::Null => Ok(None),
            value => T::from_json(value).map(Some),
        }
    }
}

/// A number of JSON's grammar; the nearest one where it has at most 15 digits and 22 decimal places. The standard
/// library's way of reading all of them to the last bit brings ten kilobytes of powers of five, which no compression
/// makes smaller.
fn decimal(text: &str) -> f64 {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    // Of a number so far from 1 that its exponent is too long only the direction matters.
    let far = if exponent.starts_with('-') { -1000 } else { 1000 };
    let mut exponent = exponent.parse().unwrap_or(far).clamp(-1000, 1000);
    let (mut significand, mut fraction) = (0_u64, false);
    for byte in mantissa.bytes() {
        match byte {
            b'.' => fraction = true,
            b'0'..=b'9' if significand < u64::MAX / 10 - 1 => {
                significand = 10 * significand + u64::from(byte - b'0');
                exponent -= i32::from(fraction);
            }
            // Digits beyond the nineteenth.
            b'0'..=b'9' => exponent += i32::from(!fraction),
            _ => {}
        }
    }
    let scaled = match exponent {
        0.. => significand as f64 * 10_f64.powi(exponent),
        _ => significand as f64 / 10_f64.powi(-exponent),
    };
    if mantissa.starts_with('-') { -scaled } else { scaled }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for text in ["0", "-0", "7", "0.02", "-0.7249", "1.0014", "0.18215", "123456.789e-3", "1e-7", "2.5E+3", "1e22"]
        {
            assert_eq!(decimal(text).to_bits(), text.parse::<f64>().expect(text).to_bits(), "{text}");
        }
        for text in
            ["3.14159265358979323846264338327950288", "123456789012345678901234567890", "1.234567890123456789e300"]
        {
            let exact: f64 = text.parse().expect(text);
            assert!((decimal(text) / exact - 1.0).abs() < 1e-15, "{text}: {}", decimal(text));
        }
        assert_eq!((decimal("1e99999999999"), decimal("-1e-99999999999")), (f64::INFINITY, -0.0));
    }

    #[test]
    fn entries_are_taken_once_and_named_where_they_are_wrong() {
        let of = |text: &'static str| Entries::of(parse(text.as_bytes()).expect("it is JSON")).expect("an object");
        let mut entries = of(r#"{"a": 1, "b": null, "c": [1.5, 2], "d": "\u00fc\n", "rest": {}}"#);
        assert_eq!(entries.required::<usize>("a"), Ok(1));
        assert_eq!(entries.required::<Option<bool>>("b"), Ok(None));
        assert_eq!(entries.optional::<Vec<f32>>("c"), Ok(Some(vec![1.5, 2.0])));
        assert_eq!(entries.required::<String>("d").as_deref(), Ok("ü\n"));
        assert_eq!(entries.or_default::<u64>("e"), Ok(0));
        assert_eq!(entries.end(), Err("unknown field `rest`".into()));
        for (text, wrong) in [
            (r#"{"a": 1, "a": 1}"#, "duplicate field `a`"),
            ("{}", "missing field `a`"),
            (r#"{"a": 1.0}"#, "a: expected a whole number, not 1.0"),
            (r#"{"a": -1}"#, "a: expected a whole number, not -1"),
            (r#"{"a": "1"}"#, "a: expected a whole number"),
        ] {
            assert_eq!(of(text).required::<u64>("a"), Err(wrong.into()), "{text}");
        }
        for text in ["", "{", "{} {}", "[01]", "[1,]", "\"\u{1}\"", "\"\\ud800\"", &"[".repeat(1000)] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
