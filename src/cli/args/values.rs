//! Reads the values of arguments.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::{CommandLine, ReportTarget};
use crate::report::ReportFormat;
use crate::spelling;

/// A value that may hold a password: it is looked at later, since what is said of a wrong argument repeats its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Unread(OsString);

impl Unread {
    /// The value.
    pub fn read(&self) -> &OsStr {
        &self.0
    }
}

impl From<OsString> for Unread {
    fn from(value: OsString) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Unread {
    /// Without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unread")
    }
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

pub(super) fn report_target(text: &str) -> Result<ReportTarget, String> {
    let (format, file) = match text.split_once('=') {
        Some((_, "")) => return Err("the file name is missing".to_owned()),
        Some((format, file)) => (format, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let format = ReportFormat::from_str(format, false).map_err(|_| {
        let known: Vec<_> = ReportFormat::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let known: Vec<&str> = known.iter().map(PossibleValue::get_name).collect();
        let nearest = spelling::suggestion(format, known.iter().copied());
        format!("there is no report {format:?}{nearest} (there are {})", known.join(", "))
    })?;
    Ok(ReportTarget { format, file })
}

/// `HOST[:PORT]`; nothing where an option may stand without a value.
pub(super) fn host(text: &str) -> Result<String, String> {
    let (name, port) = text.rsplit_once(':').unwrap_or((text, "443"));
    let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter));
    match text.is_empty() || (is_name && !name.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)) {
        true => Ok(text.to_owned()),
        false => Err("expected HOST or HOST:PORT, such as mirror.example:8443".to_owned()),
    }
}

pub(super) fn absolute_path(text: &str) -> Result<String, String> {
    if text.len() > 1 && text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("expected the path of a program in the image, from / on".to_owned())
    }
}

pub(super) fn command_line(text: &str) -> Result<CommandLine, String> {
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(CommandLine(words)),
        Some(_) => Err("it is empty".to_owned()),
        None => Err("a quote is not closed".to_owned()),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    crate::parameters::size::parse(text).map_err(|error| error.to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let factor = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("expected a number of seconds, or one with s, m or h".to_owned()),
    };
    match digits.parse::<u64>() {
        Ok(number) if number > 0 => Ok(Duration::from_secs(number.saturating_mul(factor))),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_name_and_maybe_a_port() {
        for good in ["", "mirror.example", "mirror.example:8443", "10.0.0.1"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for bad in ["https://mirror.example", "mirror.example/", "mirror.example:", "a:0", "a:70000", "*.example", ":1"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert!(duration("0").is_err() && duration("x").is_err() && duration("5 d").is_err());
    }

    #[test]
    fn a_report_that_there_is_not_is_told_with_the_nearest() {
        let wrong = report_target("jason").unwrap_err();
        assert!(wrong.contains("json") && wrong.contains("openmetrics"), "{wrong}");
        assert_eq!(report_target("html=a=b.html").unwrap().file, Some("a=b.html".into()));
    }
}
