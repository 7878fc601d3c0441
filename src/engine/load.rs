//! Whether the image's own loader loads what a .NET program needs: by tiny programs that imglint starts first in a container.

use std::collections::BTreeMap;

use super::container::{Ended, Wanted};
use super::path::{Run, Stopped, failed, millis, skipped, unknown};
use super::plan::{Candidates, Loaded};
use super::probe::{Probe, Proof};
use super::said::{is_not_started, is_of_image, of_engine};
use super::stage::{Form, LONGEST_OUTPUT, StageReport};
use crate::printable::excerpt;
use crate::verdict::Outcome;

/// The program's name among the tools.
const PROGRAM: &str = "program";
/// The stages that need one library of a kind, with the kind's name among the tools.
pub(super) const KINDS: [(&str, &str); 2] = [("globalization", "icu"), ("cryptography", "ssl")];

/// No container ends with this code.
const NO_CODE: i64 = -1;

/// What became of a tiny program.
enum Tried {
    /// It was loaded and proved it.
    Loaded(Ended),
    /// It was started and not loaded.
    NotLoaded(Ended),
    /// The image is why the engine could not start it.
    NotStarted(String, Option<i64>),
}

impl Run<'_> {
    /// True if there are tiny programs for this machine.
    pub(super) fn has_probe(&self) -> bool {
        Proof::new().ok().and_then(|proof| self.program(&proof, true, &[])).is_some()
    }

    /// The candidates of a stage.
    pub(super) fn candidates(&self, stage: &str) -> &Candidates {
        let probes = &self.plan.probes;
        if stage == "globalization" { &probes.icu } else { &probes.openssl }
    }

    /// A tiny program that needs what every program needs, or only its loader, and these libraries as well.
    pub(super) fn program(&self, proof: &Proof, is_whole: bool, loaded: &[&Loaded]) -> Option<Vec<u8>> {
        let probes = &self.plan.probes;
        let (own, versions) = match is_whole {
            true => (probes.libraries.clone(), probes.versions.clone()),
            false => (Vec::new(), BTreeMap::new()),
        };
        let libraries = own.into_iter().chain(loaded.iter().flat_map(|one| one.libraries.clone())).collect();
        let symbols = loaded.iter().flat_map(|one| one.symbols.clone()).collect();
        let (architecture, loader) = (self.plan.architecture.as_str(), probes.loader.as_str());
        Probe { architecture, loader, libraries, versions, symbols, proof }.bytes()
    }

    /// The stages that a tiny program decides. First one program needs all that is expected to load: of a good image that
    /// is the only one. Only if it fails is each need tried alone.
    pub(super) fn load(&mut self) -> Result<(), Stopped> {
        let expected = KINDS.map(|(stage, _)| self.candidates(stage).expected.first().cloned());
        let all: Vec<&Loaded> = expected.iter().flatten().collect();
        let tried = match self.tried("start", true, &all)? {
            Tried::NotLoaded(ended) if !all.is_empty() && ended.exit_code.is_some() => {
                self.tried("start", true, &[])?
            }
            Tried::Loaded(ended) => {
                self.loaded(&ended)?;
                for ((stage, _), one) in KINDS.iter().zip(&expected) {
                    if let Some(one) = one {
                        self.push(StageReport::new(stage, Outcome::Pass, one.name.as_str()).seen());
                    }
                }
                return Ok(());
            }
            other => other,
        };
        match tried {
            Tried::Loaded(ended) => self.loaded(&ended)?,
            Tried::NotLoaded(ended) => {
                self.start(&ended, false)?;
                self.push(not_loaded(&ended));
            }
            Tried::NotStarted(why, exit_code) => {
                self.push(StageReport { exit_code, ..failed("start", &why).seen() });
                self.push(skipped("linker", "the program did not start"));
                return Ok(());
            }
        }
        for (stage, _) in KINDS {
            self.expected(stage)?;
        }
        Ok(())
    }

    /// Tries what is expected of one stage, each alone, until one is loaded.
    fn expected(&mut self, stage: &str) -> Result<(), Stopped> {
        for one in self.candidates(stage).expected.clone() {
            if let Tried::Loaded(_) = self.tried(stage, false, &[&one])? {
                self.push(StageReport::new(stage, Outcome::Pass, one.name).seen());
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the candidate that a script names is loaded, too, when imglint starts it.
    pub(super) fn confirmed(&mut self, stage: &str, number: Option<usize>) -> Result<StageReport, Stopped> {
        let candidates = self.candidates(stage);
        let mut all = candidates.expected.iter().chain(&candidates.others);
        let Some(one) = number.and_then(|number| all.nth(number)).cloned() else {
            return Ok(failed(stage, "the script names libraries that it was not asked for"));
        };
        Ok(match self.tried(stage, false, &[&one])? {
            Tried::Loaded(_) => StageReport::new(stage, Outcome::Pass, one.name).seen(),
            _ => {
                let why =
                    format!("the script says that {} can be loaded, but imglint's own start of it fails", one.name);
                failed(stage, &why).seen()
            }
        })
    }

    fn loaded(&mut self, ended: &Ended) -> Result<(), Stopped> {
        self.start(ended, true)?;
        let linker = StageReport::new("linker", Outcome::Pass, excerpt(&ended.output, LONGEST_OUTPUT)).seen();
        self.push(StageReport { duration_ms: Some(millis(ended.duration)), ..linker });
        Ok(())
    }

    /// The stage of the start: of a pod it is another. Where the program was not loaded, only the image's loader was started,
    /// whatever that is.
    fn start(&mut self, ended: &Ended, observed: bool) -> Result<(), Stopped> {
        if self.plan.form == Form::Pod {
            return self.start_of_pod();
        }
        let start = StageReport { observed, ..StageReport::new("start", Outcome::Pass, "") };
        self.push(StageReport { duration_ms: Some(millis(ended.duration)), ..start });
        Ok(())
    }

    /// A program of imglint's as the container's first process, with nothing of the image before it but the loader. An
    /// entrypoint that old servers leave in place is emptied, and a pod's shell is left out.
    fn tried(&mut self, what: &str, is_whole: bool, loaded: &[&Loaded]) -> Result<Tried, Stopped> {
        let no_random = |error| unknown(what, &format!("this machine gives no random bytes: {error}"));
        let proof = Proof::new().map_err(no_random)?;
        let Some(program) = self.program(&proof, is_whole, loaded) else {
            return Err(skipped(what, "there is no program for this architecture"));
        };
        let path = self.home.tool(PROGRAM);
        let mut files = self.files();
        files.add(&path, &program, true);
        let mark = self.mark()?;
        let wanted = self.wanted(files, &mark, vec![path.clone()]);
        let wanted = Wanted { entrypoint: Form::Worker.entrypoint(), command: vec![path], ..wanted };
        match self.used(what, &wanted)? {
            Err(why) if is_of_image(&why) => Ok(Tried::NotStarted(why, None)),
            Err(why) => Err(unknown(what, &of_engine(&why))),
            Ok(used) => {
                let ended = used.ended;
                if proof.is_given(ended.exit_code, &ended.output) {
                    return Ok(Tried::Loaded(Ended { output: proof.rest(&ended.output), ..ended }));
                }
                // Newer runtimes start a container before they find out.
                if is_not_started(&ended.output) {
                    return Ok(Tried::NotStarted(ended.output.trim().to_owned(), ended.exit_code));
                }
                Ok(Tried::NotLoaded(ended))
            }
        }
    }

    /// Whether a pod's shell and script come to the program.
    pub(super) fn start_of_pod(&mut self) -> Result<(), Stopped> {
        let no_random = |error| unknown("start", &format!("this machine gives no random bytes: {error}"));
        let (proof, mark) = (Proof::new().map_err(no_random)?, self.mark()?);
        let path = self.home.tool(PROGRAM);
        let mut files = self.files();
        files.add(&path, &self.program(&proof, false, &[]).unwrap_or_default(), true);
        let wanted = self.wanted(files, &mark, vec![path]);
        let stage = match self.ended("start", &wanted, &mark)? {
            Err(stage) => stage,
            Ok(ended) if proof.is_given(ended.exit_code, &ended.output) => {
                let start = StageReport::new("start", Outcome::Pass, "");
                StageReport { duration_ms: Some(millis(ended.duration)), ..start }
            }
            Ok(ended) if is_not_started(&ended.output) => {
                StageReport { exit_code: ended.exit_code, ..failed("start", ended.output.trim()) }
            }
            Ok(ended) => ended.stage("start", NO_CODE),
        };
        self.push(stage);
        Ok(())
    }

    /// Whether the image's user comes to where Calamari lies, when only the home's owner may enter it.
    pub(super) fn reach(&mut self) -> Result<(), Stopped> {
        let stage = match self.tried("start", true, &[])? {
            Tried::NotStarted(why, _) => failed("start", &why),
            Tried::Loaded(_) | Tried::NotLoaded(_) => {
                StageReport::new("start", Outcome::Pass, "the user may enter a home of mode 0700")
            }
        };
        self.push(stage.seen());
        Ok(())
    }
}

/// The stage of a loader that did not load a program. One that ended as if all was well did so without its proof.
fn not_loaded(ended: &Ended) -> StageReport {
    let stage = ended.stage("linker", NO_CODE).seen();
    if ended.exit_code.is_some() && stage.output.is_empty() {
        return StageReport { output: "the program ended before it was loaded".to_owned(), ..stage };
    }
    stage
}
