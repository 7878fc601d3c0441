//! Whether the culture that the environment asks for is one of those that ICU defines, where nothing else is allowed.

use super::collect::{Runtime, Surroundings};
use super::{Problem, ProblemKind, Stage};
use crate::printable::excerpt;
use crate::tables::dotnet::{Release, dotnet};
use crate::tables::dotnet_variable::order;
use crate::verdict::Outcome;

const ONLY: &str = "DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY";
/// The first release that knows the setting.
const SINCE: &str = "6.0";
/// Variables that name the culture, the strongest first: the first that is set counts, even if it is empty (dotnet/runtime,
/// src/native/libs/System.Globalization.Native/pal_locale.c, `DetectDefaultSystemLocaleName`).
const NAMES: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

/// What is wrong with the culture; nothing if cultures of any name are allowed.
pub fn problem(around: &Surroundings<'_>, runtime: &Runtime, release: &Release) -> Option<Problem> {
    let is_on = |value: &str| value == "1" || value.eq_ignore_ascii_case("true");
    let is_off = |value: &str| value == "0" || value.eq_ignore_ascii_case("false");
    let by_variable =
        around.variable(ONLY).and_then(|value| is_on(value).then_some(true).or(is_off(value).then_some(false)));
    let is_only = match (release.environment_decides_invariant, by_variable, runtime.predefined_cultures_only) {
        (true, Some(value), _) | (_, None, Some(value)) | (false, _, Some(value)) => value,
        (false, value, None) => value.unwrap_or(false),
        (true, None, None) => false,
    };
    if !is_only || order(&release.version) < order(SINCE) {
        return None;
    }
    let name = NAMES.into_iter().find(|name| around.variable(name).is_some())?;
    let value = around.variable(name)?;
    let outcome = match known(value) {
        Some(true) => return None,
        Some(false) => Outcome::Fail,
        None => Outcome::Unknown,
    };
    let value = excerpt(value, 60);
    let statement = match outcome {
        Outcome::Fail => format!(
            "{name} is {value:?}, which is no culture of ICU, and only those are allowed ({ONLY}): a program ends when it \
             first asks for its culture"
        ),
        _ => {
            format!("whether {value:?} ({name}) is a culture of ICU is not known, and only those are allowed ({ONLY})")
        }
    };
    let (kind, place) = (ProblemKind::VariableHarmful, around.variable_place(name));
    Some(Problem { kind, stage: Some(Stage::Globalization), outcome, statement, place, component: None })
}

/// Whether ICU has a culture of this name, if that is known.
fn known(locale: &str) -> Option<bool> {
    let name = locale.split('.').next().unwrap_or_default();
    if matches!(name, "" | "C" | "POSIX") {
        return Some(true);
    }
    let cultures = &dotnet().ok()?.cultures;
    let (language, rest) = name.split_once(['_', '-']).map_or((name, None), |(first, rest)| (first, Some(rest)));
    let language = language.to_ascii_lowercase();
    if !language.starts_with(|first: char| first.is_ascii_alphabetic()) || language.contains('@') {
        return None;
    }
    let has_language = cultures.languages.contains(&language);
    match rest {
        _ if !has_language => Some(false),
        None => Some(true),
        Some(territory) => {
            let full = format!("{language}_{}", territory.to_ascii_uppercase());
            cultures.territories.contains(&full).then_some(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cultures_are_known_by_language_and_territory() {
        for name in ["", "C", "C.UTF-8", "POSIX", "de", "en_US.UTF-8", "EN_us"] {
            assert_eq!(known(name), Some(true), "{name}");
        }
        for name in ["qq", "qq_QQ.UTF-8", "german", "tlh_AQ"] {
            assert_eq!(known(name), Some(false), "{name}");
        }
        for name in ["de_QQ", "sr@latin", "de_DE@euro"] {
            assert_eq!(known(name), None, "{name}");
        }
    }
}
