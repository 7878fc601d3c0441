//! Variables of the image's environment that keep a .NET runtime from starting any program.

use super::collect::{Runtime, Surroundings};
use super::{Problem, ProblemKind, Shape, Stage};
use crate::layer::Kind;
use crate::layer::path::{absolute, parent_and_name};
use crate::printable::excerpt;
use crate::rootfs::Access;
use crate::tables::dotnet::{Release, dotnet};
use crate::tables::dotnet_variable::{Effect, Limits, OwnLibrary, Variable, order};
use crate::verdict::Outcome;

/// How much of a value is shown, in characters.
const MOST_SHOWN: usize = 120;
/// The processors that every host has, as far as a list of them is judged: the first.
const FIRST_PROCESSOR: u32 = 0;
/// The most entries of a list in a variable that are looked at.
const MOST_ENTRIES: usize = 1000;

/// What the environment does to a program before its own code runs.
pub fn problems(around: &Surroundings<'_>, runtime: &Runtime, release: &Release) -> Vec<Problem> {
    let Ok(table) = dotnet() else { return Vec::new() };
    let read = table.variable.iter().filter(|variable| variable.is_read_by(&release.version));
    let environment = Environment { around, runtime, release };
    let mut found: Vec<Problem> = Vec::new();
    for problem in read.filter_map(|variable| environment.judge(variable)) {
        if !found.iter().any(|known| known.statement == problem.statement) {
            found.push(problem);
        }
    }
    found
}

/// What became of a variable.
enum Found {
    /// It keeps every program from starting: how, the end of a sentence.
    Stops(String),
    /// Whether it does is not known.
    Open(String),
    /// Programs run, but not only their own code.
    Foreign(String),
}

/// The environment as one release reads it.
struct Environment<'a> {
    around: &'a Surroundings<'a>,
    runtime: &'a Runtime,
    release: &'a Release,
}

impl Environment<'_> {
    /// The name and value of one of the runtime's variables: with the first prefix under which it is set to anything.
    fn value(&self, name: &str) -> Option<(String, &str)> {
        self.release.prefixes.iter().find_map(|prefix| {
            let name = format!("{prefix}{name}");
            let value = self.around.variable(&name).filter(|value| !value.is_empty())?;
            Some((name, value))
        })
    }

    fn number(&self, name: &str) -> Option<u64> {
        number(self.value(name)?.1)
    }

    fn judge(&self, variable: &Variable) -> Option<Problem> {
        let (name, value) = if variable.is_whole {
            let value = self.around.variable(&variable.name).filter(|value| !value.is_empty())?;
            (variable.name.clone(), value)
        } else {
            self.value(&variable.name)?
        };
        let is_off = variable.unless_zero.iter().any(|other| self.number(other) == Some(0));
        let is_idle = variable.only_with.as_ref().is_some_and(|other| self.number(other).unwrap_or(0) == 0);
        let is_inside = variable.not_in_single_files && self.runtime.shape == Shape::SingleFile;
        if is_off || is_idle || is_inside {
            return None;
        }
        let found = self.effect(&variable.effect, value)?;
        let said = format!("{name} is {:?} in the image's environment", excerpt(value, MOST_SHOWN));
        let (kind, outcome, statement) = match found {
            Found::Stops(why) => {
                (ProblemKind::VariableHarmful, Outcome::Fail, format!("{said}: {why}, so {}", variable.then))
            }
            Found::Open(why) => {
                (ProblemKind::VariableHarmful, Outcome::Unknown, format!("{said}: {why}; if not, {}", variable.then))
            }
            Found::Foreign(what) => (ProblemKind::StartupHook, Outcome::Fail, format!("{said}: {what}")),
        };
        let stage = (kind == ProblemKind::VariableHarmful).then_some(Stage::Start);
        Some(Problem { kind, stage, outcome, statement, place: self.around.variable_place(&name), component: None })
    }

    fn effect(&self, effect: &Effect, value: &str) -> Option<Found> {
        match effect {
            Effect::StartupHooks => self.startup_hooks(value),
            Effect::DiagnosticPorts => ports(value),
            Effect::NotZero => (number(value)? != 0).then(|| Found::Stops("a number other than 0".to_owned())),
            Effect::Number(limits) => within(limits, number(value)?),
            Effect::Alone { with } => {
                let missing = with.iter().find(|name| self.number(name).unwrap_or(0) == 0)?;
                let is_set = number(value)? != 0;
                is_set.then(|| Found::Stops(format!("{missing} is not set, too")))
            }
            Effect::NotZeroWithout { with } => {
                if number(value)? == 0 {
                    return None;
                }
                Some(if self.number(with).unwrap_or(0) == 0 {
                    Found::Stops(format!("{with} is not set"))
                } else {
                    Found::Open("it depends on the large pages that the host has".to_owned())
                })
            }
            Effect::Processors => processors(value),
            Effect::Library { own } => self.library(value, own),
            Effect::NeedsLibrary { named_by } => self.alternative(named_by),
            Effect::File => self.file(value),
        }
    }

    /// The assemblies that run before the program (dotnet/runtime, `StartupHookProvider.cs`).
    fn startup_hooks(&self, value: &str) -> Option<Found> {
        if self.runtime.startup_hooks == Some(false) {
            return None;
        }
        let mut foreign: Vec<&str> = Vec::new();
        let mut open = None;
        for hook in value.split(':').filter(|hook| !hook.is_empty()).take(MOST_ENTRIES) {
            let shown = excerpt(hook, MOST_SHOWN);
            if !hook.starts_with('/') {
                let is_name = !hook.contains(['/', ' ', ',']) && !hook.to_ascii_lowercase().ends_with(".dll");
                let own = self.runtime.app_folder.as_ref().map(|folder| format!("{folder}/{hook}.dll"));
                if is_name && own.is_some_and(|path| self.around.rootfs.find(&path).is_ok()) {
                    open =
                        Some(Found::Open(format!("whether {shown} is an assembly with a startup hook is not known")));
                    continue;
                }
                let why = if is_name { "names no assembly of the program" } else { "is neither a path nor a name" };
                return Some(Found::Stops(format!("{shown:?} {why}")));
            }
            let node = match self.around.rootfs.find(hook) {
                Ok(node) => node,
                Err(missing) => return Some(Found::Stops(missing.why())),
            };
            if node.kind != Kind::File || node.size == 0 {
                return Some(Found::Stops(format!("{shown} is not an assembly")));
            }
            if !self.around.rootfs.may(self.around.user, Access::Read, &node) {
                return Some(Found::Stops(format!("uid {} may not read {shown}", self.around.user.uid)));
            }
            if hook.to_ascii_lowercase().ends_with(".dll") {
                foreign.push(hook);
            } else {
                open = Some(Found::Open(format!("whether {shown} is an assembly with a startup hook is not known")));
            }
        }
        let runs = (!foreign.is_empty()).then(|| {
            Found::Foreign(format!("the code of {} runs inside of every program", excerpt(&foreign.join(", "), 400)))
        });
        open.or(runs)
    }

    /// A library that lies next to the runtime's own.
    fn library(&self, value: &str, own: &[OwnLibrary]) -> Option<Found> {
        let shown = excerpt(value, MOST_SHOWN);
        if value.contains('/') {
            return Some(Found::Stops(format!("{shown} is not a plain file name")));
        }
        let is_own =
            own.iter().any(|library| library.name == value && order(&self.release.version) >= order(&library.since));
        match self.runtime_folder() {
            Some(folder) => match self.around.rootfs.find(&format!("{folder}/{value}")) {
                Ok(_) if is_own => None,
                Ok(_) => {
                    Some(Found::Open(format!("whether {folder}/{shown} is the library that is wanted is not known")))
                }
                Err(_) => Some(Found::Stops(format!("{shown} is not in {folder}"))),
            },
            None if is_own && self.runtime.shape != Shape::SingleFile => None,
            None => Some(Found::Stops(format!("the runtime has no {shown}"))),
        }
    }

    /// The second compiler that is loaded (dotnet/runtime, src/coreclr/vm/codeman.cpp, `LoadJIT`).
    fn alternative(&self, named_by: &str) -> Option<Found> {
        let named = self.value(named_by).map(|(_, value)| value.to_owned());
        let processor = if self.around.architecture == "amd64" { "x64" } else { self.around.architecture };
        let named = named.unwrap_or_else(|| format!("libclrjit_unix_{processor}_{processor}.so"));
        self.library(&named, &[])
    }

    fn file(&self, value: &str) -> Option<Found> {
        if !value.starts_with('/') {
            return Some(Found::Open("a relative path depends on the working folder".to_owned()));
        }
        Some(match self.around.rootfs.find(value) {
            Err(missing) => Found::Stops(missing.why()),
            Ok(_) => Found::Open("whether this is the library that is wanted is not known".to_owned()),
        })
    }

    /// The folder of the runtime, where it is known.
    fn runtime_folder(&self) -> Option<String> {
        let runtime = self.runtime.chain.iter().find(|path| path.ends_with("/libcoreclr.so"));
        match runtime {
            Some(path) => Some(absolute(parent_and_name(path.trim_start_matches('/')).0)),
            None => self.runtime.app_folder.clone().filter(|_| self.runtime.shape == Shape::SingleFile),
        }
    }
}

/// A number as the runtime reads it: hexadecimal, up to the first other character (strtoull(3) with base 16). `None` if it
/// does not begin with one.
fn number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let is_digit = |text: &str| text.starts_with(|first: char| first.is_ascii_hexdigit());
    let bare = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).filter(|rest| is_digit(rest));
    let digits = bare.unwrap_or(text);
    let end = digits.find(|character: char| !character.is_ascii_hexdigit()).unwrap_or(digits.len());
    (end > 0).then(|| u64::from_str_radix(&digits[..end], 16).unwrap_or(u64::MAX))
}

fn within(limits: &Limits, number: u64) -> Option<Found> {
    if number == 0 && !limits.zero_counts {
        return None;
    }
    if number < limits.fails_below {
        return Some(Found::Stops(format!("{number:#x} is less than {:#x}", limits.fails_below)));
    }
    if let Some(most) = limits.fails_above.filter(|most| number > *most) {
        return Some(Found::Stops(format!("{number:#x} is more than {most:#x}")));
    }
    if limits.power_of_two && !number.is_power_of_two() {
        return Some(Found::Stops(format!("{number:#x} is not a power of two")));
    }
    let is_plenty = number >= limits.works_from && limits.works_to.is_none_or(|most| number <= most);
    (!is_plenty).then(|| Found::Open(format!("whether {number:#x} is a number that does is not known")))
}

/// Ports that the runtime connects to (dotnet/runtime, src/native/eventpipe/ds-ipc-pal.c and ds-ipc.c): entries between
/// `;`, each an address and options after `,`. The first of `suspend` and `nosuspend` counts; without them it suspends.
fn ports(value: &str) -> Option<Found> {
    let waits = |entry: &&str| {
        let mut parts = entry.split(',').filter(|part| !part.is_empty());
        let address = parts.next().unwrap_or_default();
        let options: Vec<&str> = parts.collect();
        let is = |name: &'static str| move |option: &&&str| option.eq_ignore_ascii_case(name);
        // Ports to listen at are for other systems, and are passed over.
        if address.trim().is_empty() || options.iter().any(|option| is("listen")(&option)) {
            return false;
        }
        let first = options.iter().find(|option| is("suspend")(option) || is("nosuspend")(option));
        first.is_none_or(|option| is("suspend")(&option))
    };
    let entry = value.split(';').take(MOST_ENTRIES).find(waits)?;
    Some(Found::Stops(format!("the port {:?} has no nosuspend", excerpt(entry, MOST_SHOWN))))
}

/// A list of processors such as `0-3,6` (dotnet/runtime, src/coreclr/gc/gcconfig.cpp, `ParseIndexOrRange`).
fn processors(value: &str) -> Option<Found> {
    let ends = |entry: &str| -> Option<(u32, u32)> {
        let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    };
    let mut has_first = false;
    for entry in value.split(',').take(MOST_ENTRIES) {
        let Some((first, _)) = ends(entry) else {
            return Some(Found::Stops(format!("{:?} is not a processor number", excerpt(entry, MOST_SHOWN))));
        };
        has_first |= first == FIRST_PROCESSOR;
    }
    (!has_first).then(|| Found::Open("whether the host has these processors is not known".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hexadecimal_up_to_the_first_other_character() {
        let read = ["100000", "0x100000", " 0X10", "100zz", "0x", "zz", "", "ffffffffffffffffff"].map(number);
        let wanted = [Some(0x10_0000), Some(0x10_0000), Some(0x10), Some(0x100), Some(0), None, None, Some(u64::MAX)];
        assert_eq!(read, wanted);
    }

    #[test]
    fn a_port_suspends_unless_it_says_otherwise_first() {
        let suspends = |value: &str| ports(value).is_some();
        for value in ["/d/p", "/d/p,suspend", "/d/p,connect", "/d/p, nosuspend", "/d/p,suspend,nosuspend", ",nosuspend"]
        {
            assert!(suspends(value), "{value}");
        }
        for value in
            ["/d/p,nosuspend", "/d/p,NOSUSPEND", "/d/p,connect,nosuspend", "/d/p,nosuspend,suspend", ";", ",", " "]
        {
            assert!(!suspends(value), "{value}");
        }
        assert!(suspends("/d/p,nosuspend;/d/q") && !suspends(";;/d/p,nosuspend;"));
    }

    #[test]
    fn processors_are_numbers_and_ranges() {
        assert!(processors("0-3,6").is_none());
        assert!(matches!(processors("x"), Some(Found::Stops(_))));
        assert!(matches!(processors("900"), Some(Found::Open(_))));
    }
}
