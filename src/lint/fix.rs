//! What to do about a finding in this image: with its package manager, its packages and its operating system.

use crate::catalog::{Profile, Rule};
use crate::checks::Check;
use crate::facts::{CommandState, Facts, User};
use crate::parameters::Parameters;
use crate::printable::printable;
use crate::tables::packages::{Install, packages};
use crate::verdict::{Answer, Outcome, Severity};

use super::Finding;

/// The fix of a rule for an answer. `base` is the rule that says that the base has to be changed anyway, if one does.
pub(super) fn fix(rule: &Rule, answer: &Answer, facts: &Facts, parameters: &Parameters, base: Option<&str>) -> String {
    if let Some(own) = &answer.fix {
        return own.clone();
    }
    let is_windows = facts.platform.known().is_some_and(|platform| platform.is.os == "windows");
    if is_windows {
        let on_path = filled(rule.fix_path.as_ref(), "{env-path}", windows_path(&answer.folders, facts));
        return on_path.unwrap_or_else(|| rule.wording(parameters).fix_on_windows().to_owned());
    }
    if let Some(on_path) = filled(rule.fix_path.as_ref(), "{env-path}", env_path(&answer.folders)) {
        return on_path;
    }
    if let Some(base) = base.filter(|id| *id != rule.id && !answer.components.is_empty()) {
        return format!("Change the base first, as the finding {base} says. The new base has to have it, too.");
    }
    let install = install(&answer.components, facts);
    let line = install.as_ref().and_then(|install| instruction(install, facts));
    if let Some(text) = filled(rule.fix_install.as_ref(), "{install}", line) {
        return text;
    }
    if let Some(text) = filled(rule.fix_into.as_ref(), "{root}", answer.root.clone()) {
        return text;
    }
    if !answer.components.is_empty() && lacks_managers(facts) {
        return without_manager(install.as_ref(), facts);
    }
    let text = rule.wording(parameters).fix(facts.os_release.known());
    if text.contains("RUN ") && is_missing("sh", facts) { in_another_stage(text) } else { text.to_owned() }
}

/// The rule that fails because the base has the wrong C library, which no package changes.
pub(super) fn wrong_base(findings: &[Finding], profile: &Profile) -> Option<String> {
    let is_about_base = |id: &str| profile.rule(id).is_ok_and(|rule| matches!(rule.check, Check::Libc(_)));
    let is_certain = |finding: &&Finding| finding.outcome == Outcome::Fail && finding.severity == Severity::Error;
    findings.iter().filter(is_certain).find(|finding| is_about_base(&finding.rule)).map(|finding| finding.rule.clone())
}

fn filled(text: Option<&String>, word: &str, value: Option<String>) -> Option<String> {
    text.zip(value).map(|(text, value)| text.replace(word, &value))
}

/// How the components are installed on the image's distribution, if that is known.
fn install(components: &[String], facts: &Facts) -> Option<Install> {
    let system = facts.os_release.known().filter(|release| release.present)?.system();
    // If the commands of an image are not known, the distribution's own package manager is taken to be there.
    let is_there = |name: &str| facts.commands.known().is_none() || is_usable(name, facts);
    packages().ok()?.install(system, is_there, components)
}

/// The Dockerfile instruction, as root, with what it leaves out.
fn instruction(install: &Install, facts: &Facts) -> Option<String> {
    let line = install.instruction.as_ref()?;
    // Instructions run as the image's own user, as which user containers are started does not matter.
    let own = facts.configuration.known().map(|settings| settings.user.value.as_str());
    let user = facts.user.known().map(|user| (own.unwrap_or(&user.given), user));
    let is_root = |(own, user): &(&str, &User)| match *own == user.given {
        true => user.uid == Some(0),
        false => ["", "0", "root"].contains(&own.split(':').next().unwrap_or_default()),
    };
    let mut text = match user.filter(|user| !is_root(user)) {
        Some((own, _)) => format!("USER root\n{line}\nUSER {}", printable(own)),
        None => line.clone(),
    };
    if !install.unknown.is_empty() {
        let names = install.unknown.join(", ");
        text.push_str(&format!(
            "\nInstall {names}, too: imglint does not know the package's name on this distribution."
        ));
    }
    Some(text)
}

fn is_usable(name: &str, facts: &Facts) -> bool {
    let command = facts.commands.known().and_then(|commands| commands.get(name));
    command.is_some_and(|command| command.state == CommandState::Usable)
}

/// True if it is known that the image does not have the command.
fn is_missing(name: &str, facts: &Facts) -> bool {
    let commands = facts.commands.known();
    commands.is_some_and(|commands| commands.get(name).is_none_or(|command| command.state == CommandState::Missing))
}

/// True if it is known that the image has none of the package managers.
fn lacks_managers(facts: &Facts) -> bool {
    packages().is_ok_and(|table| table.manager.iter().all(|manager| is_missing(&manager.command, facts)))
}

fn without_manager(install: Option<&Install>, facts: &Facts) -> String {
    let what = if is_missing("sh", facts) { "no package manager and no shell" } else { "no package manager" };
    let system = facts.os_release.known().filter(|release| release.present);
    let base = match system.map(|system| (system.id.as_str(), system.version_id.as_deref())) {
        Some((id @ ("debian" | "ubuntu"), Some(version))) => format!("FROM {id}:{}", printable(version)),
        _ => "FROM mcr.microsoft.com/dotnet/runtime-deps:8.0".to_owned(),
    };
    let mut text = format!(
        "The image has {what}, so nothing can be installed in it. Build on a base that has one and install it there, for \
         example:\n{base}"
    );
    let has_dnf = system.zip(packages().ok()).is_some_and(|(system, table)| table.has_dnf(system.system()));
    if let Some(install) = install.filter(|_| has_dnf) {
        text.push_str(&format!(
            "\nOr install into a copy of its files in a build stage that has dnf: dnf install -y --installroot /rootfs {}",
            install.packages.join(" ")
        ));
    }
    text
}

fn in_another_stage(text: &str) -> String {
    format!(
        "The image has no shell, so no RUN works in it: make what follows in a build stage with one and copy the result, or \
         build on a base that has a shell.\n{text}"
    )
}

/// The Dockerfile instruction that puts folders first on `PATH`, as the target's documentation writes it.
fn env_path(folders: &[String]) -> Option<String> {
    let named = plain(folders, "/._-+@,");
    (!named.is_empty()).then(|| format!("ENV PATH=\"{}:$PATH\"", named.join(":")))
}

/// The same for Windows: `ENV PATH` would hide the registry's, which setx adds to. It needs an administrator.
fn windows_path(folders: &[String], facts: &Facts) -> Option<String> {
    let named = plain(folders, r"\:._-+@, ()");
    let user = facts.configuration.known().map(|configuration| configuration.user.value.as_str()).unwrap_or_default();
    let line = format!("RUN setx /M PATH \"%PATH%;{}\"", named.join(";"));
    let is_administrator = user.is_empty() || user.eq_ignore_ascii_case("ContainerAdministrator");
    let text =
        if is_administrator { line } else { format!("USER ContainerAdministrator\n{line}\nUSER {}", printable(user)) };
    (!named.is_empty()).then_some(text)
}

/// Each folder once. What a shell or a Dockerfile would read as more than a name is not for copying.
fn plain<'a>(folders: &'a [String], signs: &str) -> Vec<&'a str> {
    let mut named: Vec<&str> = Vec::new();
    for folder in folders {
        if folder.chars().all(|c| c.is_alphanumeric() || signs.contains(c)) && !named.contains(&folder.as_str()) {
            named.push(folder);
        }
    }
    named
}
