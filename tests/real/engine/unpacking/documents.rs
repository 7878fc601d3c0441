//! Documents of images that honest tools do not write: keys in other cases, twice, null, of other kinds, and broken texts.

use imglint::digest::Digest;
use imglint::platform::Platform;

use super::judges::PATH;
use super::random::Random;
use crate::support::tars::{Member, tar};

/// What `docker save` writes of an image, and what is odd about its documents.
pub struct Document {
    pub what: String,
    pub archive: Vec<u8>,
}

/// How a key that is there twice is described.
pub const TWICE: &str = "twice:";

/// A JSON object: its keys in order, each with a text that is JSON.
type Object = Vec<(String, String)>;

fn object(members: &[(&str, String)]) -> Object {
    members.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn text(object: &Object) -> String {
    let members: Vec<String> = object.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Kinds that fields may have by mistake.
const KINDS: [&str; 6] = ["null", "\"a text\"", "7", "[]", "{}", "true"];
/// Fields of a configuration that decide nothing here. Engines read them all the same.
const UNREAD: [&str; 8] =
    ["created", "author", "history", "docker_version", "container", "variant", "unknown", "parent"];
/// Those of its `config` object.
const UNREAD_INNER: [&str; 6] = ["Hostname", "Tty", "Labels", "OnBuild", "Unknown", "AttachStdin"];

/// One change to an object; `unread` are fields that may be added.
fn change(random: &mut Random, object: &mut Object, unread: &[&str]) -> String {
    let at = random.below(object.len() as u64) as usize;
    let key = object[at].0.clone();
    match random.below(8) {
        0 | 1 => {
            let cased = if random.below(2) == 0 { key.to_uppercase() } else { key.to_lowercase() };
            object[at].0 = cased.clone();
            format!("{key} as {cased}")
        }
        2 => {
            object[at].1 = "null".to_owned();
            format!("{key} null")
        }
        3 => {
            let kind = random.pick(&KINDS);
            object[at].1 = kind.to_owned();
            format!("{key} {kind}")
        }
        4 => {
            object.remove(at);
            format!("no {key}")
        }
        5 => {
            let twice = object[at].clone();
            let cased = if random.below(2) == 0 { key.to_uppercase() } else { key.clone() };
            object.push((cased.clone(), twice.1));
            format!("{TWICE} {key} and {cased}")
        }
        _ => {
            let (field, kind) = (random.pick(unread), random.pick(&KINDS));
            object.push((field.to_owned(), kind.to_owned()));
            format!("{field} {kind}")
        }
    }
}

/// An archive of an image of these layers with one or two changes to its documents.
pub fn generated(seed: u64, number: u64, layers: &[Vec<u8>]) -> Document {
    let mut random = Random::new(seed ^ 0xd0c5, number);
    let mut said = Vec::new();
    let env =
        ["[\"PATH=/opt:/bin\"]", "[\"A=b\",\"PATH=/x\"]", "[\"PATH=/x\",\"PATH=/y\"]", "[\"A=\\ud800\",\"PATH=/z\"]"];
    let mut inner = object(&[("Env", random.pick(&env).to_owned()), ("Cmd", "[\"/bin/bash\"]".to_owned())]);
    let diff_ids: Vec<String> = layers.iter().map(|tar| format!("\"{}\"", Digest::of(tar))).collect();
    let mut rootfs = object(&[("type", "\"layers\"".to_owned()), ("diff_ids", format!("[{}]", diff_ids.join(",")))]);
    let changed = random.below(4);
    if changed == 0 {
        said.push(change(&mut random, &mut inner, &UNREAD_INNER));
    }
    if changed == 1 {
        said.push(change(&mut random, &mut rootfs, &["unknown"]));
    }
    let mut config = object(&[
        ("os", "\"linux\"".to_owned()),
        ("architecture", format!("\"{}\"", Platform::linux_here().architecture)),
        ("config", text(&inner)),
        ("rootfs", text(&rootfs)),
    ]);
    if changed == 2 {
        said.push(change(&mut random, &mut config, &UNREAD));
    }
    let config = text(&config);

    let name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let paths: Vec<String> = (0..layers.len()).map(|layer| format!("{layer}/layer.tar")).collect();
    let listed: Vec<String> = paths.iter().map(|path| format!("\"{path}\"")).collect();
    let mut entry = object(&[
        ("Config", format!("\"{name}\"")),
        ("RepoTags", format!("[\"documents/x:{number}\"]")),
        ("Layers", format!("[{}]", listed.join(","))),
    ]);
    if changed == 3 {
        said.push(change(&mut random, &mut entry, &["Parent", "LayerSources", "unknown"]));
    }
    let manifest = match random.below(12) {
        0 => {
            said.push("text after the manifest".to_owned());
            format!("[{}] x", text(&entry))
        }
        1 => {
            said.push("null after the entry".to_owned());
            format!("[{},null]", text(&entry))
        }
        _ => format!("[{}]", text(&entry)),
    };
    let mut members = vec![Member::file(&name, config.as_bytes()), Member::file("manifest.json", manifest.as_bytes())];
    members.extend(paths.iter().zip(layers).map(|(path, tar)| Member::file(path, tar)));
    Document { what: format!("{}, {PATH} of {}", said.join(", "), text(&inner)), archive: tar(&members) }
}
