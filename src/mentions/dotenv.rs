//! The variables of a `.env` file (Compose Specification, "Env file syntax").

use super::{Variables, compose};

/// The variables that a file sets. Values may use variables that the file set before, never those of the environment.
#[must_use]
pub fn variables(text: &str) -> Variables {
    let mut all = Variables::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
            continue;
        }
        let value = value.trim();
        let quoted =
            |quote: char| value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)).map(|(inner, _)| inner);
        let value = match (quoted('\''), quoted('"')) {
            (Some(inner), _) => Some(inner.to_owned()),
            (None, Some(inner)) => compose::completed(inner, &all).ok(),
            (None, None) => {
                let plain = value.split(" #").next().unwrap_or_default().trim_end();
                compose::completed(plain, &all).ok()
            }
        };
        // One that needs a variable that is not set is not set itself.
        all.extend(value.map(|value| (name.to_owned(), value)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_compose_reads_them() {
        let text =
            "# x\nA=1\nexport B = 'two $A' # y\nC=\"${A}.0\"\nD=x${A} # z\nE=\n=no\nF=${GITHUB_TOKEN}\nG=${NONE:-3}\n";
        let all: Vec<(String, String)> = variables(text).into_iter().collect();
        let expected = [("A", "1"), ("B", "two $A"), ("C", "1.0"), ("D", "x1"), ("E", ""), ("G", "3")];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
