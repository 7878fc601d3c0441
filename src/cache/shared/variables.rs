//! What the environment says of buckets and their credentials, looked at before the code that would panic on it.
//!
//! The names are those that the crate `object_store` documents. The most usual mistake is the line end of a file behind a
//! secret: no value has one, so one at the end is left out, and the user is told.

use std::ffi::OsString;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use reqwest::Url;

/// A variable of the environment that configures a bucket, and its value.
pub(super) type Variable = (String, String);

/// The variables for the buckets of a scheme, and what the user should know of them.
///
/// # Errors
/// A value is malformed. The error names the variable, and has nothing of the value.
pub(super) fn of(scheme: &str) -> Result<(Vec<Variable>, Vec<String>), String> {
    checked(scheme, std::env::vars_os())
}

fn checked(
    scheme: &str,
    all: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Vec<Variable>, Vec<String>), String> {
    let (mut good, mut notes) = (Vec::new(), Vec::new());
    for (name, value) in all {
        let Some(name) = name.to_str().filter(|name| is_known(scheme, name)) else { continue };
        let value = value.into_string().map_err(|_| format!("{name} is no UTF-8"))?;
        let trimmed = match value.strip_suffix('\n') {
            Some(rest) if !is_document(name) => rest.strip_suffix('\r').unwrap_or(rest),
            _ => value.as_str(),
        };
        if trimmed.len() < value.len() {
            notes.push(format!("{name} ends in a line end, which is left out"));
        }
        sound(name, trimmed)?;
        good.push((name.to_owned(), trimmed.to_owned()));
    }
    // What is more special comes later, and counts.
    good.sort_by_key(|(name, _)| (name != "SERVICE_ACCOUNT", name.clone()));
    notes.sort();
    Ok((good, notes))
}

/// Whether the crate reads a variable of this name for this kind of bucket.
fn is_known(scheme: &str, name: &str) -> bool {
    let key = name.to_ascii_lowercase();
    match scheme {
        "s3" => name.starts_with("AWS_") && key.parse::<AmazonS3ConfigKey>().is_ok(),
        "gs" if name == "SERVICE_ACCOUNT" => true,
        "gs" => name.starts_with("GOOGLE_") && key.parse::<GoogleConfigKey>().is_ok(),
        _ if name == "IDENTITY_ENDPOINT" => true,
        _ => name.starts_with("AZURE_") && key.parse::<AzureConfigKey>().is_ok(),
    }
}

/// Whether the value is a document, which may have several lines: a key as JSON, a certificate.
fn is_document(name: &str) -> bool {
    name.ends_with("_SERVICE_ACCOUNT_KEY") || name.ends_with("_CA_CERTIFICATE")
}

/// Whether the value is the path of a file, which may have any characters but control characters.
fn is_path(name: &str) -> bool {
    ["_FILE", "_APPLICATION_CREDENTIALS", "SERVICE_ACCOUNT", "_SERVICE_ACCOUNT_PATH"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

/// Whether the value is an address.
fn is_address(name: &str) -> bool {
    let parts = [
        "IDENTITY_ENDPOINT",
        "_ENDPOINT",
        "_BASE_URL",
        "_PROXY_URL",
        "_FULL_URI",
        "_TOKEN_SERVICE_URL",
        "_AUTHORITY_HOST",
    ];
    parts.iter().any(|part| name.contains(part)) && !name.ends_with("_USE_FABRIC_ENDPOINT")
}

fn sound(name: &str, value: &str) -> Result<(), String> {
    if is_document(name) || value.is_empty() {
        return Ok(());
    }
    if value.contains(char::is_control) {
        return Err(format!("{name} has a line end or another control character in it"));
    }
    if is_path(name) {
        return Ok(());
    }
    // What goes into the header of a request.
    if !value.is_ascii() {
        return Err(format!("{name} has a character that is not ASCII"));
    }
    if is_address(name) {
        let url = Url::parse(value).map_err(|error| format!("{name} is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!("{name} is no address of the form https://host"));
        }
    }
    if value.contains(' ') && !name.ends_with("_PROXY_EXCLUDES") && !name.ends_with("_USER_AGENT") && !is_duration(name)
    {
        return Err(format!("{name} has a blank in it"));
    }
    Ok(())
}

/// Whether the value is a time, such as `30 s`.
fn is_duration(name: &str) -> bool {
    name.contains("TIMEOUT") || name.ends_with("_INTERVAL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one(scheme: &str, name: &str, value: &str) -> Result<(Vec<Variable>, Vec<String>), String> {
        checked(scheme, [(name.into(), value.into()), ("PATH".into(), "x\ny".into())])
    }

    #[test]
    fn a_line_end_behind_a_secret_is_left_out_and_told_of() {
        for (scheme, name) in [
            ("s3", "AWS_SESSION_TOKEN"),
            ("s3", "AWS_ACCESS_KEY_ID"),
            ("s3", "AWS_SECRET_ACCESS_KEY"),
            ("az", "AZURE_STORAGE_ACCOUNT_NAME"),
            ("az", "AZURE_STORAGE_TOKEN"),
            ("gs", "GOOGLE_BEARER_TOKEN"),
        ] {
            for end in ["\n", "\r\n"] {
                let (good, notes) = of_one(scheme, name, &format!("s3cr3t{end}")).unwrap();
                assert_eq!(good, [(name.to_owned(), "s3cr3t".to_owned())]);
                assert_eq!(notes, [format!("{name} ends in a line end, which is left out")]);
            }
            assert!(of_one(scheme, name, "s3cr3t").unwrap().1.is_empty());
        }
    }

    #[test]
    fn a_malformed_value_is_an_error_that_names_the_variable_and_not_the_value() {
        for (scheme, name, value, expected) in [
            ("s3", "AWS_SESSION_TOKEN", "s3cr3t\n\n", "has a line end or another control character in it"),
            ("s3", "AWS_SECRET_ACCESS_KEY", "s3cr3t\tx", "has a line end or another control character in it"),
            ("s3", "AWS_ACCESS_KEY_ID", "s3cr3t x", "has a blank in it"),
            ("s3", "AWS_ACCESS_KEY_ID", "s3cr3t\u{e4}", "has a character that is not ASCII"),
            ("s3", "AWS_ENDPOINT", "http://u:s3cr3t@bad host", "is no address: invalid international domain name"),
            ("s3", "AWS_ENDPOINT_URL", "http://u:s3cr3t@host:99999", "is no address: invalid port number"),
            ("s3", "AWS_ENDPOINT_URL_S3", "s3cr3t", "is no address: relative URL without a base"),
            ("s3", "AWS_ENDPOINT", "unix:/s3cr3t", "is no address of the form https://host"),
            ("s3", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "s3cr3t", "is no address: relative URL without a base"),
            ("az", "AZURE_STORAGE_ACCOUNT_NAME", "s3cr3t\n\n", "has a line end or another control character in it"),
            ("az", "AZURE_MSI_ENDPOINT", "http://s3cr3t:x:y", "is no address: invalid port number"),
            ("gs", "GOOGLE_SERVICE_ACCOUNT", "/s3cr3t\0", "has a line end or another control character in it"),
        ] {
            let error = of_one(scheme, name, value).unwrap_err();
            assert_eq!(error, format!("{name} {expected}"));
        }
    }

    #[test]
    fn what_is_usual_is_left_as_it_is() {
        for (scheme, name, value) in [
            ("gs", "GOOGLE_SERVICE_ACCOUNT_KEY", "{\n \"type\": \"service_account\"\n}\n"),
            ("gs", "GOOGLE_APPLICATION_CREDENTIALS", "/home/Jos\u{e9} X/key.json"),
            ("s3", "AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/a b/token"),
            ("s3", "AWS_ENDPOINT", "http://[::1]:9000/minio"),
            ("s3", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x"),
            ("s3", "AWS_TIMEOUT", "30 s"),
            ("s3", "AWS_REGION", ""),
            ("az", "AZURE_USE_FABRIC_ENDPOINT", "true"),
            ("az", "AZURE_STORAGE_SAS_TOKEN", "?sv=2024&sig=a%2Bb%3D"),
        ] {
            let expected = (vec![(name.to_owned(), value.to_owned())], Vec::new());
            assert_eq!(of_one(scheme, name, value), Ok(expected), "{name}");
        }
        assert_eq!(of_one("gs", "AWS_ACCESS_KEY_ID", "x\n\n"), Ok((Vec::new(), Vec::new())));
        assert_eq!(of_one("s3", "AWS_PROFILE", "x\n\n"), Ok((Vec::new(), Vec::new())));
    }
}
