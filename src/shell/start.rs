//! Starts a shell on a file, with the variables that it has at its start, and says what it leaves.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::branches::State;
use super::evaluate::{Flow, Shell};
use super::parse::parse;
use super::value::Value;
use super::{BashEnv, Budget, Content, Dialect, End, Line, Reading, StartFile, World};

/// Reads a start-up file.
pub(super) fn run(world: World<'_>, file: &StartFile, budget: &mut Budget) -> Reading {
    let Some(mut shell) = Shell::new(world, file, budget) else { return super::failed(file) };
    shell.source_file(&file.path, Line { file: file.path.clone(), ..Line::default() });
    shell.finish().reading
}

/// Reads the file that `BASH_ENV` names by `value`, as a bash does that runs a script.
pub(super) fn run_bash_env(world: World<'_>, value: &str, budget: &mut Budget) -> BashEnv {
    let unnamed = StartFile { path: String::new(), dialect: Dialect::Posix };
    let failed = |why: &str| BashEnv { unknown: Some(why.to_owned()), ..BashEnv::default() };
    let Some(mut shell) = Shell::new(world, &unnamed, budget) else { return failed("it could not be evaluated") };
    let name = match shell.named(value) {
        Some(name) if name.is_empty() => return BashEnv::default(),
        Some(name) => name,
        None => return failed("which file it names is not known"),
    };
    if !name.starts_with('/') {
        return failed(&format!("it names {name}, which depends on the folder that a script runs in"));
    }
    let whole = Line { file: name.clone(), ..Line::default() };
    let content = match world.content(&name) {
        Content::Missing => return BashEnv { file: Some(name), is_missing: true, ..BashEnv::default() },
        Content::NotKept(why) => return BashEnv { file: Some(name), unknown: Some(why), ..BashEnv::default() },
        Content::Text(text) => text.into_owned(),
    };
    let may_read = |node: &crate::rootfs::Node<'_>| world.rootfs.may(world.account, crate::rootfs::Access::Read, node);
    if !world.rootfs.find(&name).is_ok_and(|node| may_read(&node)) {
        return BashEnv { file: Some(name), is_missing: true, ..BashEnv::default() };
    }
    name.clone_into(&mut shell.file);
    let done = shell.run_text(&content, whole);
    // What has too many statements was not followed to its end.
    if shell.budget.statements == 0 {
        let why = format!("{name} has too many statements to follow them all");
        return BashEnv { file: Some(name), unknown: Some(why), ..BashEnv::default() };
    }
    let end = if done.flow == Flow::Stop {
        End::Always
    } else if done.maybe == Some(Flow::Stop) {
        End::Perhaps
    } else {
        End::Never
    };
    BashEnv { file: Some(name), end, ..shell.finish() }
}

impl<'w, 'b> Shell<'w, 'b> {
    fn new(world: World<'w>, file: &StartFile, budget: &'b mut Budget) -> Option<Self> {
        let empty = parse("", file.dialect).ok()?;
        let mut shell = Shell {
            world,
            dialect: file.dialect,
            state: State::default(),
            scopes: Vec::new(),
            uncertain: BTreeSet::new(),
            references: BTreeSet::new(),
            options: BTreeSet::new(),
            ended: None,
            // A script's own are not known.
            arguments: world.mode.is_interactive().then(Vec::new),
            file: file.path.clone(),
            text: Rc::new(empty),
            called_at: None,
            depth: 0,
            muted: 0,
            sourced: Vec::new(),
            budget,
            reading: Reading::default(),
        };
        for (name, value) in world.environment {
            shell.state.variables.insert(name.clone(), Value::text(value));
        }
        let uid = world.account.uid.to_string();
        let bash =
            if world.rootfs.names("lib").iter().any(|name| name.starts_with("ld-musl-")) { "musl" } else { "gnu" };
        let mut set = vec![
            ("HOME", world.home.to_owned()),
            ("PATH", world.path().to_owned()),
            ("UID", uid.clone()),
            ("EUID", uid),
            ("OSTYPE", format!("linux-{bash}")),
            ("BASH", "/bin/bash".to_owned()),
            ("SHELL", "/bin/bash".to_owned()),
        ];
        if world.mode.is_interactive() {
            set.push(("PS1", "$ ".to_owned()));
        }
        for (name, value) in set {
            shell.state.variables.entry(name.to_owned()).or_insert(Value::text(value));
        }
        if file.dialect == Dialect::Zsh {
            shell.state.variables.remove("BASH");
            shell.state.variables.insert("SHELL".to_owned(), Value::text("/bin/zsh"));
            shell.state.variables.insert("ZSH_VERSION".to_owned(), Value::unknown("the version of zsh"));
            let user = world.user.map_or_else(|| Value::unknown("the user's name"), Value::text);
            for name in ["USER", "LOGNAME"] {
                shell.state.variables.entry(name.to_owned()).or_insert(user.clone());
            }
        }
        Some(shell)
    }

    /// What is left at the end: of what was added to `PATH` that which is still there.
    fn finish(mut self) -> BashEnv {
        let own = Value::text(self.world.path()).folders();
        let folders = self.variable("PATH").folders();
        let is_whole = folders.iter().all(|folder| folder.known().is_some());
        let mut noted = std::mem::take(&mut self.reading.additions);
        for addition in noted
            .extract_if(.., |addition| !folders.iter().any(|folder| folder.known() == Some(addition.folder.as_str())))
        {
            if !is_whole && self.uncertain.contains(&addition.folder) {
                let why = format!("whether {} stays on PATH depends on a condition that is not known", addition.folder);
                self.note(addition.line, why);
            }
        }
        self.reading.additions = noted;
        if is_whole {
            let is_gone = |folder: &&Value| !folders.contains(folder);
            let gone = own.iter().filter(is_gone).filter_map(Value::known).map(str::to_owned);
            self.reading.removes = gone.collect();
        } else if self.reading.unknown.is_empty() {
            let why = folders.iter().find_map(Value::why_unknown).unwrap_or("what PATH is").to_owned();
            let line = Line { file: self.file.clone(), ..Line::default() };
            self.note(line, format!("{why} is not known"));
        }
        // Empty elements count, too.
        let own = self.variable("PATH").known().filter(|text| !text.is_empty()).map(str::to_owned);
        let whole = own.as_ref().map(|text| text.split(':').map(Value::text).collect::<Vec<_>>());
        let path = whole.as_ref().unwrap_or(&folders).iter().map(|folder| {
            let why = || folder.why_unknown().unwrap_or("a folder").to_owned();
            folder.known().map(str::to_owned).ok_or_else(why)
        });
        BashEnv {
            path: path.collect(),
            options: self.options,
            ended: self.ended,
            reading: self.reading,
            ..BashEnv::default()
        }
    }
}
