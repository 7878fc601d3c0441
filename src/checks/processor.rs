//! Decides whether programs need more of a processor than every x86-64 has.

use serde::Deserialize;

use super::{MOST_TOLD, when_known};
use crate::facts::programs::{Level, ProgramFact};
use crate::facts::{Command, Fact, Facts};
use crate::parameters::Parameters;
use crate::verdict::{Answer, Evidence, Place};

/// `kind = "processor"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProcessorFits {
    /// The profile's parameter that names the processor's level, such as `x86-64-v2`.
    pub parameter: String,
}

impl ProcessorFits {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        when_known(&facts.programs, &Place::path("/"), |programs| {
            let cpu = parameters.text(&self.parameter);
            // Levels are named so that a higher one sorts behind a lower one.
            let is_too_much = |level: &Level| cpu.as_deref().is_none_or(|cpu| level.level.as_str() > cpu);
            let of_programs = programs.iter().filter_map(|program| {
                let level = program.level.as_ref().filter(|level| is_too_much(level))?;
                Some((program, level))
            });
            let needs = |what: &str, level: &Level| {
                let (level, place) = (&level.level, &level.place);
                let marked = place.path.as_deref().unwrap_or(what);
                place.says(format!("{what} needs a processor of level {level}: {marked} is marked so"))
            };
            let Some(cpu) = &cpu else {
                // What was only named may never meet an old processor; the system itself meets every one.
                let of_system = of_programs.filter(|(program, _)| is_systems(program));
                let evidence: Vec<Evidence> = of_system.map(|(_, level)| needs("the system", level)).take(1).collect();
                return if evidence.is_empty() { Answer::pass() } else { Answer::fail(evidence).lesser() };
            };
            let mut evidence: Vec<Evidence> =
                of_programs.map(|(program, level)| needs(&program.program, level)).collect();
            if let Fact::Known(commands) = &facts.commands {
                let level = |(name, command): (&String, &Command)| {
                    let level = command.program.as_ref()?.level.clone()?;
                    let level = Level { level, place: command.place.clone() };
                    is_too_much(&level).then(|| needs(name, &level))
                };
                evidence.extend(commands.iter().filter_map(level));
            }
            evidence.truncate(MOST_TOLD);
            if evidence.is_empty() {
                return Answer::pass();
            }
            let asked = Place::default().says(format!("the processor was set to {cpu}"));
            evidence.push(asked);
            Answer::fail(evidence)
        })
    }
}

/// Whether what a program needs is what the loader and the C library of the image need: it is not there itself.
fn is_systems(program: &ProgramFact) -> bool {
    program.path.is_none()
}
