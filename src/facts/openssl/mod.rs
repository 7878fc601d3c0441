//! Whether OpenSSL's configuration leaves the ciphers that Octopus needs: AES with the properties that are asked for.
//!
//! Source: OpenSSL 3, config(5), crypto/provider_conf.c, crypto/evp/evp_cnf.c, crypto/property/property_parse.c.

mod file;

use super::programs::Surroundings;
use crate::layer::Kind;
use crate::layer::path::{absolute, join};
use crate::printable::excerpt;
use crate::rootfs::Access;
use crate::verdict::{Outcome, Place};
use file::{Included, Sections, Unread};

/// Where builds of distributions have their configuration (OPENSSLDIR), known by a folder that only they have.
const FOLDERS: [(&str, &str); 3] =
    [("usr/lib/ssl", "/usr/lib/ssl"), ("etc/pki/tls", "/etc/pki/tls"), ("etc/ssl", "/etc/ssl")];
/// Providers that are part of the library and have no AES.
const WITHOUT_AES: [&str; 3] = ["base", "null", "legacy"];
/// The most files of a folder that is included.
const MOST_INCLUDED: usize = 50;

/// Why there may be no ciphers: the outcome, a sentence, and where it is set.
pub type WithoutCiphers = (Outcome, String, Place);

/// What the configuration says against ciphers; nothing if they are there. OpenSSL 3 is taken for granted: older ones know
/// no providers.
#[must_use]
pub fn without_ciphers(around: &Surroundings<'_>) -> Option<WithoutCiphers> {
    let (path, place) = match around.variable("OPENSSL_CONF") {
        // An empty name is no file.
        Some(set) => (set.to_owned(), around.variable_place("OPENSSL_CONF")),
        None => {
            let folder = FOLDERS.iter().find(|(known, _)| around.rootfs.find(known).is_ok())?.1;
            (format!("{folder}/openssl.cnf"), Place::path(&format!("{folder}/openssl.cnf")))
        }
    };
    if path.is_empty() || path.starts_with("/dev/") || path.starts_with("/proc/") {
        return None;
    }
    if !path.starts_with('/') {
        let why = format!("OPENSSL_CONF is {:?}, which depends on the working folder", excerpt(&path, 120));
        return Some((Outcome::Unknown, why, place));
    }
    let node = around.rootfs.find(&path).ok()?;
    // What cannot be read is passed over.
    if node.kind != Kind::File || node.size == 0 || !around.rootfs.may(around.user, Access::Read, &node) {
        return None;
    }
    let place = if around.variable("OPENSSL_CONF").is_some() {
        place
    } else {
        around.rootfs.place(path.trim_start_matches('/'), &node)
    };
    let detail = node.detail();
    if detail.is_some_and(|detail| detail.elf.is_some()) {
        return None;
    }
    let Some(content) = detail.and_then(|detail| detail.content.as_deref()) else {
        return Some((Outcome::Unknown, format!("{path} configures OpenSSL, and it was not read"), place));
    };
    let environment = |name: &str| around.variable(name).map(str::to_owned);
    let include = |path: &str| included(around, path);
    match file::read(content, &environment, &include) {
        Err(Unread::PassedOver) => None,
        Err(Unread::Open(why)) => {
            Some((Outcome::Unknown, format!("what {path} configures of OpenSSL is not known: {why}"), place))
        }
        Ok(sections) => {
            let (outcome, why) = judge(&sections, &|name, module| has_module(around, name, module))?;
            Some((outcome, format!("{path} {why}"), place))
        }
    }
}

/// The files of an `.include`: one, or those of a folder that end as configuration does.
fn included(around: &Surroundings<'_>, path: &str) -> Included {
    let one = |path: &str| -> Result<Option<Vec<u8>>, String> {
        let Ok(node) = around.rootfs.find(path) else { return Ok(None) };
        if node.kind != Kind::File || node.size == 0 || !around.rootfs.may(around.user, Access::Read, &node) {
            return Ok(None);
        }
        let content = node.detail().and_then(|detail| detail.content.clone());
        content.map(Some).ok_or_else(|| format!("{} was not read", excerpt(path, 120)))
    };
    let is_folder = around.rootfs.find(path).is_ok_and(|node| node.kind == Kind::Directory);
    let paths: Vec<String> = if is_folder {
        let names = around.rootfs.names(path);
        let wanted = names.iter().filter(|name| name.ends_with(".cnf") || name.ends_with(".conf"));
        wanted.take(MOST_INCLUDED).map(|name| absolute(&join(path, name))).collect()
    } else {
        vec![path.to_owned()]
    };
    let mut files = Vec::new();
    for path in &paths {
        match one(path) {
            Ok(content) => files.extend(content),
            Err(why) => return Included::Open(why),
        }
    }
    if files.is_empty() { Included::Missing } else { Included::Files(files) }
}

/// Whether the file of a provider is there: by the path that is set, else in a folder of modules.
fn has_module(around: &Surroundings<'_>, name: &str, module: Option<&str>) -> bool {
    if let Some(module) = module.filter(|module| module.starts_with('/')) {
        return around.rootfs.find(module).is_ok();
    }
    let file = format!("{name}.so");
    match around.variable("OPENSSL_MODULES").filter(|folder| !folder.is_empty()) {
        Some(folder) => around.rootfs.find(&join(folder, &file)).is_ok(),
        None => around.rootfs.files_named(&file).iter().any(|path| path.contains("ossl-modules/")),
    }
}

/// A provider that the configuration speaks of.
struct Provider {
    name: String,
    /// Whether it is activated, if that does not depend on the release.
    is_active: Option<bool>,
    module: Option<String>,
}

/// What a configuration says against AES: the outcome, and the end of a sentence about the file.
fn judge(sections: &Sections, has_module: &dyn Fn(&str, Option<&str>) -> bool) -> Option<(Outcome, String)> {
    let start = last(sections, "default", "openssl_conf")?;
    let mut providers: Vec<Provider> = Vec::new();
    let mut properties: Option<String> = None;
    for (name, value) in sections.get(start)? {
        match module_name(name) {
            "providers" => {
                // A section that is not there is an error, which ends it.
                let Some(listed) = sections.get(value) else { break };
                let each = listed.iter().map(|(name, section)| provider(sections, module_name(name), section));
                providers.extend(each.flatten());
            }
            "alg_section" => {
                let Some(set) = sections.get(value) else { break };
                match algorithms(set, properties.take()) {
                    Ok(found) => properties = found,
                    Err(found) => {
                        properties = found;
                        break;
                    }
                }
            }
            "ssl_conf" | "oid_section" | "stbl_section" | "engines" | "random" => {}
            // An unknown name ends the rest.
            _ => break,
        }
    }
    by_providers(&providers, properties.as_deref(), has_module)
}

fn last<'s>(sections: &'s Sections, section: &str, name: &str) -> Option<&'s str> {
    let own = sections.get(section)?;
    own.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A name without what stands before its dot, by which names are kept apart.
fn module_name(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, rest)| rest)
}

fn provider(sections: &Sections, name: &str, section: &str) -> Option<Provider> {
    let own = sections.get(section)?;
    let mut provider = Provider { name: name.to_owned(), is_active: Some(false), module: None };
    for (key, value) in own {
        match module_name(key) {
            "identity" => provider.name.clone_from(value),
            "module" => provider.module = Some(value.clone()),
            // Until OpenSSL 3.2 any value activates.
            "activate" => {
                let is_off = ["0", "no", "off", "false"].iter().any(|off| value.eq_ignore_ascii_case(off));
                provider.is_active = if is_off { None } else { Some(true) };
            }
            _ => {}
        }
    }
    Some(provider)
}

/// The properties that a section asks for. An error ends it, and keeps what was set before.
fn algorithms(set: &[(String, String)], before: Option<String>) -> Result<Option<String>, Option<String>> {
    let mut properties = before;
    for (name, value) in set {
        match module_name(name) {
            "default_properties" => properties = Some(value.clone()),
            "fips_mode" => match value.as_str() {
                "yes" | "YES" | "y" | "Y" | "true" | "TRUE" => properties = Some("fips=yes".to_owned()),
                "no" | "NO" | "n" | "N" | "false" | "FALSE" => properties = None,
                _ => return Err(properties),
            },
            _ => return Err(properties),
        }
    }
    Ok(properties)
}

fn by_providers(
    providers: &[Provider],
    properties: Option<&str>,
    has_module: &dyn Fn(&str, Option<&str>) -> bool,
) -> Option<(Outcome, String)> {
    let named = |name: &str| providers.iter().any(|provider| provider.name == name && provider.is_active == Some(true));
    let is_any = providers.iter().any(|provider| provider.is_active == Some(true));
    let may_be_any = providers.iter().any(|provider| provider.is_active.is_none());
    let has_default = named("default") || !(is_any || may_be_any);
    let wishes = properties.map(wishes).unwrap_or_default();
    if has_default && meets(&wishes, &[("provider", "default")]) {
        return None;
    }
    // Whether another one has AES depends on its module.
    let other = providers.iter().find(|provider| {
        let is_known = provider.name == "default" || WITHOUT_AES.contains(&provider.name.as_str());
        !is_known && provider.is_active != Some(false) && has_module(&provider.name, provider.module.as_deref())
    });
    if let Some(other) = other {
        let why =
            format!("leaves AES to the provider {:?}, and whether that works is not known", excerpt(&other.name, 60));
        return Some((Outcome::Unknown, why));
    }
    if may_be_any && !is_any {
        let why = "switches providers off, which activates them before OpenSSL 3.2".to_owned();
        return Some((Outcome::Unknown, why));
    }
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    let why = if has_default {
        format!(
            "asks for ciphers with {:?}, which no provider that is there has",
            excerpt(properties.unwrap_or_default(), 120)
        )
    } else {
        format!(
            "activates {}, so that OpenSSL does not load the provider default by itself, and there is no AES",
            excerpt(&names.join(", "), 120)
        )
    };
    Some((Outcome::Fail, why))
}

/// One property that a cipher has to have, or must not have.
struct Wish {
    name: String,
    value: String,
    is_equal: bool,
}

/// The properties that must hold; none for a text that OpenSSL refuses (ossl_property(7)).
fn wishes(text: &str) -> Vec<Wish> {
    let mut all = Vec::new();
    for clause in text.split(',').map(str::trim) {
        // Optional ones, and those that take another back.
        if clause.starts_with(['?', '-']) {
            continue;
        }
        let (name, value, is_equal) = match (clause.split_once("!="), clause.split_once('=')) {
            (Some((name, value)), _) => (name, value, false),
            (None, Some((name, value))) => (name, value, true),
            (None, None) => (clause, "yes", true),
        };
        let name = name.trim();
        if name.is_empty() || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Vec::new();
        }
        let value = value.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
        all.push(Wish { name: name.to_ascii_lowercase(), value, is_equal });
    }
    all
}

/// Whether what has these properties is what is wished for. A property that is not defined counts as `no`.
fn meets(wishes: &[Wish], own: &[(&str, &str)]) -> bool {
    wishes.iter().all(|wish| {
        let value = own.iter().find(|(name, _)| *name == wish.name).map_or("no", |(_, value)| value);
        (value == wish.value) == wish.is_equal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Outcome {
        let sections = file::read(text.as_bytes(), &|_| None, &|_| Included::Missing);
        let has_module = |name: &str, module: Option<&str>| name == "fips" && module == Some("/there.so");
        sections.ok().and_then(|sections| judge(&sections, &has_module)).map_or(Outcome::Pass, |(outcome, _)| outcome)
    }

    fn with(names: &[&str]) -> Outcome {
        let mut text = "openssl_conf = i\n[i]\nproviders = p\n[p]\n".to_owned();
        names.iter().for_each(|name| text.push_str(&format!("{name} = a\n")));
        outcome(&format!("{text}[a]\nactivate = 1\n"))
    }

    #[test]
    fn any_active_provider_takes_the_place_of_the_default_one() {
        for names in
            [&["null"][..], &["base"], &["legacy"], &["fips"], &["fips", "base"], &["gone"], &["DEFAULT"], &["x.null"]]
        {
            assert_eq!(with(names), Outcome::Fail, "{names:?}");
        }
        for names in [&[][..], &["default"], &["default", "legacy"], &["default", "gone"], &["x.default"]] {
            assert_eq!(with(names), Outcome::Pass, "{names:?}");
        }
    }

    #[test]
    fn what_is_not_activated_or_not_named_changes_nothing() {
        for text in [
            "",
            "openssl_conf = gone\n",
            "openssl_conf = i\n[i]\nproviders = gone\n",
            "openssl_conf = i\n[i]\nproviders = p\n[p]\nnull = n\n[n]\n",
            "openssl_conf = i\n[i]\nproviders = p\n[p]\nnull = gone\n",
            "[i]\nproviders = p\n[p]\nnull = n\n[n]\nactivate = 1\n",
            "nodejs_conf = i\n[i]\nproviders = p\n[p]\nnull = n\n[n]\nactivate = 1\n",
            "openssl_conf = i\n[i]\nfoo = bar\nproviders = p\n[p]\nnull = n\n[n]\nactivate = 1\n",
        ] {
            assert_eq!(outcome(text), Outcome::Pass, "{text}");
        }
        let off = "openssl_conf = i\n[i]\nproviders = p\n[p]\nnull = n\n[n]\nactivate = 0\n";
        assert_eq!(outcome(off), Outcome::Unknown, "it depends on the release");
    }

    #[test]
    fn properties_that_the_default_provider_does_not_have_leave_nothing() {
        let asked = |set: &str| outcome(&format!("openssl_conf = i\n[i]\nalg_section = a\n[a]\n{set}\n"));
        for set in ["fips=yes", "\"fips = yes\"", "fips", "provider=foo", "provider!=default", "foo=bar"] {
            assert_eq!(asked(&format!("default_properties = {set}")), Outcome::Fail, "{set}");
        }
        for set in ["?fips=yes", "fips=no", "-fips", "provider=default", "", ",,="] {
            assert_eq!(asked(&format!("default_properties = {set}")), Outcome::Pass, "{set}");
        }
        assert_eq!(asked("fips_mode = yes"), Outcome::Fail);
        assert_eq!(asked("fips_mode = on"), Outcome::Pass, "which is an error");
        assert_eq!(asked("fips_mode = yes\ndefault_properties = fips=no"), Outcome::Pass);
    }

    #[test]
    fn a_module_that_is_there_may_have_ciphers() {
        let text = "openssl_conf = i\n[i]\nproviders = p\n[p]\nfips = f\n[f]\nmodule = /there.so\nactivate = 1\n";
        assert_eq!(outcome(text), Outcome::Unknown);
        assert_eq!(outcome(&text.replace("there", "gone")), Outcome::Fail);
    }
}
