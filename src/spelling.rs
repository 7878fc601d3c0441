//! Finds the word that somebody most likely meant, for error messages.

/// The candidate nearest to `word`, if one is near enough to be a slip of the keyboard.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = folded(word);
    let allowed = (folded.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&folded, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and the choice between `_` and `-` are no difference; the beginning of a long word is one letter away.
fn distance(folded_word: &str, candidate: &str) -> usize {
    let candidate = folded(candidate);
    let whole = strsim::osa_distance(folded_word, &candidate);
    let is_beginning = folded_word.len() >= 4 && candidate.starts_with(folded_word);
    if is_beginning { whole.min(1) } else { whole }
}

fn folded(word: &str) -> String {
    word.to_ascii_lowercase().replace('_', "-")
}

/// `did you mean x?` as the end of a sentence, or nothing when no candidate is near.
#[must_use]
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|right| format!("; did you mean `{right}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_mended_and_other_words_are_not() {
        let known = ["severity", "title", "max-image-size"];
        assert_eq!(nearest("sevrity", known), Some("severity"));
        assert_eq!(nearest("MAX_IMAGE_SIZE", known), Some("max-image-size"));
        assert_eq!(nearest("max-image", known), Some("max-image-size"));
        assert_eq!(nearest("tilte", known), Some("title"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }
}
