//! Collects what containers are started with, each setting with the history entry that set it.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::{ConfigurationFacts, SearchPath, Setting};
use crate::image::config::Configuration;
use crate::verdict::Place;

/// `PATH` where the configuration has none (moby, oci/defaults.go and daemon/pkg/oci `DefaultPathEnv`; Podman and
/// containerd use the same).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The shells that the classic builder writes before the text of RUN.
const SHELLS: [&str; 3] = ["/bin/sh -c ", "cmd /S /C ", "powershell -Command "];

/// The settings of a configuration.
#[must_use]
pub fn configuration(configuration: &Configuration) -> ConfigurationFacts {
    let run = &configuration.run;
    let setters = Setters::of(configuration);
    let set_by = |field: &str, keyword: &str, mark: &str| setters.place(field, keyword, mark);
    let words = |field: &str, keyword: &str, words: &[String]| {
        let mark = words.first().map_or("", String::as_str);
        Setting { value: words.to_vec(), place: set_by(field, keyword, mark) }
    };
    let text = |field: &str, keyword: &str, value: &str| Setting {
        value: value.to_owned(),
        place: set_by(field, keyword, value),
    };
    let env: BTreeMap<String, Setting<String>> = run
        .env
        .iter()
        .filter_map(|entry| {
            // Without `=` an entry takes one of the engine's defaults away, of which only PATH matters here (moby,
            // container/env.go).
            let (name, value) = entry.split_once('=').or_else(|| (entry == "PATH").then_some(("PATH", "")))?;
            let place = set_by("Env", "ENV", &format!("{name}="));
            Some((name.to_owned(), Setting { value: value.to_owned(), place }))
        })
        .collect();
    ConfigurationFacts {
        entrypoint: words("Entrypoint", "ENTRYPOINT", &run.entrypoint),
        cmd: words("Cmd", "CMD", &run.cmd),
        env,
        user: text("User", "USER", &run.user),
        working_dir: text("WorkingDir", "WORKDIR", &run.working_dir),
        volumes: run.volumes.iter().map(|volume| text("Volumes", "VOLUME", volume)).collect(),
        shell: words("Shell", "SHELL", &run.shell),
        labels: run
            .labels
            .iter()
            .map(|(name, value)| {
                let place = set_by("Labels", "LABEL", &format!("{name}="));
                (name.clone(), Setting { value: value.clone(), place })
            })
            .collect(),
    }
}

/// `PATH` as a Linux container gets it.
#[must_use]
pub fn search_path(settings: &ConfigurationFacts) -> SearchPath {
    let (value, is_default, place) = match settings.env.get("PATH") {
        Some(setting) => (setting.value.as_str(), false, setting.place.clone()),
        None => (DEFAULT_PATH, true, Place::field("config.Env")),
    };
    let folders = if value.is_empty() { Vec::new() } else { value.split(':').map(str::to_owned).collect() };
    SearchPath { folders, entries: Vec::new(), is_default, place }
}

/// The place of a field, with the instruction that set it to a value.
#[must_use]
pub fn set_by(configuration: &Configuration, field: &str, keyword: &str, value: &str) -> Place {
    Setters::of(configuration).place(field, keyword, value)
}

/// How many bytes of instructions are looked through for all settings of a configuration: real ones need some hundred
/// KiB. What is asked for after that has no instruction.
const MOST_SEARCHED: usize = 256 << 20;

/// The instructions that may have set something, last first.
struct Setters {
    instructions: Vec<String>,
    bytes: usize,
    searched: Cell<usize>,
}

impl Setters {
    fn of(configuration: &Configuration) -> Self {
        let texts = configuration.history.iter().rev().map(|entry| instruction(&entry.created_by));
        let instructions: Vec<String> = texts.filter(|text| !text.starts_with("RUN ")).collect();
        let bytes = instructions.iter().map(String::len).sum();
        Self { instructions, bytes, searched: Cell::new(0) }
    }

    fn place(&self, field: &str, keyword: &str, value: &str) -> Place {
        let instruction = self.setter(keyword, value);
        Place { field: Some(format!("config.{field}")), instruction, ..Place::default() }
    }

    /// The last instruction with `keyword` that mentions `mark`. A value that no instruction mentions was set without a
    /// Dockerfile.
    fn setter(&self, keyword: &str, mark: &str) -> Option<String> {
        self.searched.set(self.searched.get().saturating_add(self.bytes));
        if mark.is_empty() || self.searched.get() > MOST_SEARCHED {
            return None;
        }
        // JSON in instructions escapes what the value itself does not.
        let escaped = mark.replace('\\', "\\\\").replace('"', "\\\"");
        let is_setter = |text: &&String| {
            text.strip_prefix(keyword).is_some_and(|rest| {
                rest.starts_with([' ', '\t', '[']) && (rest.contains(mark) || rest.contains(&escaped))
            })
        };
        self.instructions.iter().find(is_setter).cloned()
    }
}

/// The Dockerfile instruction that a history entry stands for, whichever builder wrote it.
///
/// BuildKit writes `RUN /bin/sh -c … # buildkit` and `ENV …`; the classic builder `/bin/sh -c …` for RUN and
/// `/bin/sh -c #(nop)  ENV …` for the rest, both with the shell that SHELL set, on Windows `cmd /S /C` (moby,
/// builder/dockerfile/dispatchers.go).
#[must_use]
pub fn instruction(created_by: &str) -> String {
    let text = created_by.trim();
    let text = text.strip_suffix("# buildkit").map_or(text, str::trim_end);
    if let Some((_, rest)) = text.split_once("#(nop)") {
        return rest.trim().to_owned();
    }
    // Build arguments stand before the shell: `|1 NAME=value /bin/sh -c …`.
    let is_after_arguments = text.starts_with('|');
    let command = SHELLS.iter().find_map(|shell| {
        let start = if is_after_arguments { text.find(shell)? } else { 0 };
        text[start..].strip_prefix(shell)
    });
    match command {
        Some(command) => format!("RUN {}", command.trim()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::config::History;

    #[test]
    fn instructions_are_told_from_what_every_builder_writes() {
        for (created_by, expected) in [
            ("/bin/sh -c #(nop)  CMD [\"bash\"]", "CMD [\"bash\"]"),
            ("CMD [\"bash\"]", "CMD [\"bash\"]"),
            ("RUN /bin/sh -c apt-get update # buildkit", "RUN /bin/sh -c apt-get update"),
            ("/bin/sh -c apt-get update", "RUN apt-get update"),
            ("|1 V=2 /bin/sh -c make", "RUN make"),
            ("cmd /S /C setx /M PATH x", "RUN setx /M PATH x"),
            ("powershell -Command $x = 1; #(nop)  CMD [\"a\"]", "CMD [\"a\"]"),
            ("bazel build ...", "bazel build ..."),
        ] {
            assert_eq!(instruction(created_by), expected);
        }
    }

    #[test]
    fn a_setting_names_the_last_instruction_that_mentions_it() {
        let entry = |text: &str| History { created_by: text.to_owned(), empty_layer: true };
        let mut image = Configuration {
            history: vec![entry("CMD [\"bash\"]"), entry("CMD [\"nginx\" \"-g\"]"), entry("ENV PATH=/x A=1")],
            ..Configuration::default()
        };
        image.run.cmd = vec!["nginx".into(), "-g".into()];
        image.run.env = vec!["PATH=/x".into(), "B=2".into()];
        let facts = configuration(&image);
        assert_eq!(facts.cmd.place.instruction.as_deref(), Some("CMD [\"nginx\" \"-g\"]"));
        assert_eq!(facts.env["PATH"].place.instruction.as_deref(), Some("ENV PATH=/x A=1"));
        assert_eq!(facts.env["B"].place.instruction, None);
        assert_eq!(search_path(&facts).folders, ["/x"]);
    }

    #[test]
    fn without_path_the_engine_s_default_counts() {
        let path = search_path(&ConfigurationFacts::default());
        assert!(path.is_default);
        assert_eq!(path.folders.len(), 6);
    }
}
