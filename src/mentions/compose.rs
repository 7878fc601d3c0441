//! Completes names by variables as compose files do (Compose Specification, "Interpolation").

use super::Variables;

/// The text with its variables.
///
/// # Errors
/// A variable that is not set and has no default: its name.
pub(super) fn completed(text: &str, variables: &Variables) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let end = end_of(inside).ok_or_else(|| inside.to_owned())?;
            out.push_str(&value(&inside[..end], variables)?);
            rest = &inside[end + 1..];
        } else {
            let end = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
            if end == 0 {
                out.push('$');
            } else {
                let name = &rest[..end];
                out.push_str(variables.get(name).ok_or_else(|| name.to_owned())?);
            }
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the bracket closes that was opened before.
fn end_of(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The value of what stands between `${` and `}`.
fn value(inside: &str, variables: &Variables) -> Result<String, String> {
    let end = inside.find(|c: char| !is_of_name(c)).unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    let set = variables.get(name);
    let (is_filled, operator) = match rest.strip_prefix(':') {
        Some(operator) => (set.is_some_and(|value| !value.is_empty()), operator),
        None => (set.is_some(), rest),
    };
    match operator.chars().next() {
        Some('-') if !is_filled => nested(&operator[1..], variables),
        Some('+') if is_filled => nested(&operator[1..], variables),
        Some('+') => Ok(String::new()),
        Some('?') if !is_filled => Err(name.to_owned()),
        _ => set.cloned().ok_or_else(|| name.to_owned()),
    }
}

/// A default may hold variables of its own. The brackets of one lie within the other's, so that this ends.
fn nested(text: &str, variables: &Variables) -> Result<String, String> {
    if text.matches("${").count() > 10 { Err(text.to_owned()) } else { completed(text, variables) }
}
