//! The part of a manifest of schema 1 that is signed, which its digest is of (distribution, manifest-v2-1.md).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::image::json::{self, Repeats};

/// The bytes that the signatures of a manifest of schema 1 are of; `None` if it is not such a manifest.
///
/// The signatures themselves prove nothing without a trusted key, so they are not verified.
pub(super) fn signed_part(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut version, mut protected) = (None, Vec::new());
    json::read(bytes, Repeats::Refused, |json| {
        json.fields(&["schemaVersion", "signatures"], |json, key| {
            if key == "schemaVersion" {
                version = json.integer()?;
                return Ok(());
            }
            json.items(|json, _| {
                json.fields(&["protected"], |json, _| {
                    protected.extend(json.text()?);
                    Ok(())
                })
            })
            .map(drop)
        })
    })
    .ok()?;
    let parts: Option<Vec<Vec<u8>>> = protected.iter().map(|protected| part(bytes, protected)).collect();
    let parts = parts.filter(|_| version == Some(1))?;
    let first = parts.first()?;
    parts.iter().all(|part| part == first).then(|| first.clone())
}

/// The start of the document, as long as the header of a signature says, and the end that the header holds.
fn part(bytes: &[u8], protected: &str) -> Option<Vec<u8>> {
    let header = URL_SAFE_NO_PAD.decode(protected.trim_end_matches('=')).ok()?;
    let (mut length, mut tail) = (None, String::new());
    json::read(&header, Repeats::Refused, |json| {
        json.fields(&["formatLength", "formatTail"], |json, key| {
            match key {
                "formatLength" => length = json.integer()?,
                _ => tail = json.text()?.unwrap_or_default(),
            }
            Ok(())
        })
    })
    .ok()?;
    let start = bytes.get(..usize::try_from(length?).ok()?)?;
    let tail = URL_SAFE_NO_PAD.decode(tail.trim_end_matches('=')).ok()?;
    Some([start, &tail].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest with this payload, signed once with a tail of one bracket.
    fn signed(version: u8) -> (Vec<u8>, Vec<u8>) {
        let payload = format!("{{\n   \"schemaVersion\": {version},\n   \"name\": \"a\"\n}}").into_bytes();
        let start = &payload[..payload.len() - 2];
        let header = format!(r#"{{"formatLength":{},"formatTail":"{}"}}"#, start.len(), URL_SAFE_NO_PAD.encode("\n}"));
        let protected = URL_SAFE_NO_PAD.encode(header);
        let end = format!(",\n   \"signatures\": [{{\"protected\": \"{protected}\"}}]\n}}");
        ([start, end.as_bytes()].concat(), payload)
    }

    #[test]
    fn what_is_signed_is_put_together_again() {
        let (document, payload) = signed(1);
        assert_eq!(signed_part(&document), Some(payload));
        assert_eq!(signed_part(&signed(2).0), None);
        assert_eq!(signed_part(b"{\"schemaVersion\": 1}"), None);
        assert_eq!(signed_part(&document[..40]), None);
    }
}
