//! Follows the statements of a shell file: assignments, functions, branches, loops, and the files it sources.

use std::rc::Rc;

use shuck_ast::{
    ArrayElem, Assignment, AssignmentValue, BinaryOp, BuiltinCommand, Command, DeclOperand, Span, Stmt, StmtSeq,
    StmtTerminator, Word,
};

use super::branches::{Function, State};
use super::conditions::{and, or};
use super::parse::{Parsed, parse};
use super::value::Value;
use super::{Addition, Budget, Content, DEEPEST, Dialect, Hook, Line, MOST_NOTES, Note, Reading, StartFile, World};

/// The most variables that are kept.
const MOST_VARIABLES: usize = 400;
/// Variables that shells set themselves, to what is not known here.
const SET_BY_SHELLS: &[&str] = &[
    "HOSTNAME",
    "RANDOM",
    "SECONDS",
    "PPID",
    "BASH_VERSION",
    "BASHPID",
    "LINENO",
    "COLUMNS",
    "TERM",
    "PWD",
    "OLDPWD",
    "IFS",
];

/// A shell that is followed.
pub(super) struct Shell<'w, 'b> {
    pub(super) world: World<'w>,
    dialect: Dialect,
    pub(super) state: State,
    /// The positional parameters.
    pub(super) arguments: Vec<Value>,
    /// The file, and the parsed text that places are in.
    file: String,
    pub(super) text: Rc<Parsed>,
    /// The line that counts in place of those of functions and evaluated text.
    pub(super) called_at: Option<Line>,
    pub(super) depth: usize,
    /// How many subshells around this.
    pub(super) muted: usize,
    sourced: Vec<String>,
    budget: &'b mut Budget,
    reading: Reading,
}

/// How a statement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Return,
    Stop,
}

/// What a statement leaves: where to go on, and whether it succeeded, if that can be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) flow: Flow,
    pub(super) status: Option<bool>,
}

impl Done {
    pub(super) fn next(status: Option<bool>) -> Self {
        Self { flow: Flow::Next, status }
    }
}

/// Reads a start-up file.
pub(super) fn run(world: World<'_>, file: &StartFile, budget: &mut Budget) -> Reading {
    let Ok(empty) = parse("", file.dialect) else { return super::failed(file) };
    let mut shell = Shell {
        world,
        dialect: file.dialect,
        state: State::default(),
        arguments: Vec::new(),
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
    let name = if file.dialect == Dialect::Zsh { "zsh" } else { "bash" };
    let user = world.user.map_or_else(|| Value::unknown("the user's name"), Value::text);
    let uid = world.account.uid.to_string();
    for (name, value) in [
        ("HOME", Value::text(world.home)),
        ("PATH", Value::text(world.path())),
        ("PS1", Value::text("$ ")),
        ("UID", Value::text(&uid)),
        ("EUID", Value::text(&uid)),
        ("USER", user.clone()),
        ("LOGNAME", user),
        ("SHELL", Value::text(format!("/bin/{name}"))),
        ("BASH", Value::text("/bin/bash")),
    ] {
        shell.state.variables.entry(name.to_owned()).or_insert(value);
    }
    if file.dialect == Dialect::Zsh {
        shell.state.variables.remove("BASH");
        shell.state.variables.insert("ZSH_VERSION".to_owned(), Value::unknown("the version of zsh"));
    }
    shell.source_file(&file.path, Line { file: file.path.clone(), ..Line::default() });
    shell.reading
}

impl<'w> Shell<'w, '_> {
    pub(super) fn source(&self) -> Rc<str> {
        Rc::clone(&self.text.source)
    }

    /// The value of a variable, empty if it is not set.
    pub(super) fn variable(&self, name: &str) -> Value {
        self.lookup(name).unwrap_or_default()
    }

    /// The value of a variable; nothing if it is not set.
    pub(super) fn lookup(&self, name: &str) -> Option<Value> {
        match name {
            "-" => return Some(Value::text("himBHs")),
            "#" => return Some(Value::text(self.arguments.len().to_string())),
            "0" => return Some(Value::text("bash")),
            "?" | "$" | "!" | "_" => return Some(Value::unknown(format!("${name}"))),
            "@" | "*" => {
                let mut all = Value::default();
                for (number, argument) in self.arguments.iter().enumerate() {
                    if number > 0 {
                        all.push_text(" ");
                    }
                    all.push(argument.clone());
                }
                return Some(all);
            }
            _ => {}
        }
        if let Ok(number) = name.parse::<usize>() {
            return number.checked_sub(1).and_then(|at| self.arguments.get(at)).cloned();
        }
        let own = self.state.variables.get(name).cloned();
        let may_be_set = self.state.is_full || SET_BY_SHELLS.contains(&name);
        own.or_else(|| may_be_set.then(|| Value::unknown(format!("what ${name} is"))))
    }

    /// Sets a variable; of `PATH`, notes what is added.
    pub(super) fn assign(&mut self, name: &str, value: Value, span: Span) {
        if name == "PATH" {
            self.note_path(&value, span);
        }
        if self.state.variables.len() >= MOST_VARIABLES && !self.state.variables.contains_key(name) {
            self.state.is_full = true;
            return;
        }
        self.state.variables.insert(name.to_owned(), value);
    }

    fn note_path(&mut self, value: &Value, span: Span) {
        if self.muted > 0 {
            return;
        }
        let before = self.variable("PATH").folders();
        for folder in value.folders() {
            if before.contains(&folder) {
                continue;
            }
            let line = self.line(span);
            match (folder.known(), folder.why_unknown()) {
                (Some(folder), _) => self.add(folder.to_owned(), line),
                (None, why) => {
                    let why = why.unwrap_or("what is added").to_owned();
                    self.note(line, format!("a folder is added to PATH, but {why} is not known"));
                }
            }
        }
    }

    fn add(&mut self, folder: String, line: Line) {
        let addition = Addition { folder, line };
        if self.reading.additions.len() < MOST_NOTES && !self.reading.additions.contains(&addition) {
            self.reading.additions.push(addition);
        }
    }

    pub(super) fn note(&mut self, line: Line, why: String) {
        let note = Note { line, why };
        if self.reading.unknown.len() < MOST_NOTES && !self.reading.unknown.contains(&note) {
            self.reading.unknown.push(note);
        }
    }

    pub(super) fn hook(&mut self, line: Line, sources: Option<String>) {
        let hook = Hook { line, sources };
        if self.muted == 0 && self.reading.hooks.len() < MOST_NOTES && !self.reading.hooks.contains(&hook) {
            self.reading.hooks.push(hook);
        }
    }

    pub(super) fn line(&self, span: Span) -> Line {
        if let Some(line) = &self.called_at {
            return line.clone();
        }
        let number = span.start.line();
        let text = self.text.source.lines().nth(number.saturating_sub(1)).unwrap_or_default();
        Line { file: self.file.clone(), number, text: text.trim().chars().take(200).collect() }
    }

    /// Reads a file that exists; says whether it could.
    pub(super) fn source_file(&mut self, path: &str, line: Line) -> Option<bool> {
        let content = match self.world.content(path) {
            Content::Missing => return Some(false),
            Content::NotKept(why) => {
                if self.depth == 0 {
                    self.note(line, why);
                } else {
                    self.hook(line, Some(path.to_owned()));
                }
                return None;
            }
            Content::Text(text) => text.into_owned(),
        };
        if self.depth > 0 {
            self.hook(line.clone(), Some(path.to_owned()));
        }
        if self.depth >= DEEPEST || self.sourced.iter().filter(|known| *known == path).count() > 1 {
            self.note(line, format!("{path} is sourced again and again"));
            return None;
        }
        if self.budget.files == 0 {
            self.note(line, format!("{path} was not read: there are too many such files"));
            return None;
        }
        self.budget.files -= 1;
        self.sourced.push(path.to_owned());
        let before = (std::mem::replace(&mut self.file, path.to_owned()), self.called_at.take());
        let status = self.run_text(&content, Line { file: path.to_owned(), ..Line::default() });
        (self.file, self.called_at) = before;
        self.sourced.pop();
        status
    }

    /// Parses and follows a text. `whole` stands for all of it.
    pub(super) fn run_text(&mut self, text: &str, whole: Line) -> Option<bool> {
        let Some(left) = self.budget.text.checked_sub(text.len()) else {
            self.note(whole.clone(), format!("{} was not read: there is too much text in such files", whole.file));
            return None;
        };
        self.budget.text = left;
        let parsed = match parse(text, self.dialect) {
            Ok(parsed) => Rc::new(parsed),
            Err((number, why)) => {
                self.note(Line { number, ..whole.clone() }, format!("{} could not be read: {why}", whole.file));
                return None;
            }
        };
        if let Some((number, why)) = &parsed.skipped {
            self.note(
                Line { number: *number, ..whole.clone() },
                format!("{} could not be read in full: {why}", whole.file),
            );
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.text, Rc::clone(&parsed));
        let done = self.statements(&parsed.file.body);
        self.text = before;
        self.depth -= 1;
        done.status
    }

    pub(super) fn statements(&mut self, sequence: &StmtSeq) -> Done {
        let mut done = Done::next(Some(true));
        for statement in sequence.as_slice() {
            done = self.statement(statement);
            if done.flow != Flow::Next {
                break;
            }
        }
        done
    }

    pub(super) fn statement(&mut self, statement: &Stmt) -> Done {
        if self.budget.statements == 0 {
            let line = Line { file: self.file.clone(), ..Line::default() };
            self.note(line, "the shell files have too many statements to follow them all".to_owned());
            return Done { flow: Flow::Stop, status: None };
        }
        self.budget.statements -= 1;
        if matches!(statement.terminator, Some(StmtTerminator::Background(_))) {
            self.aside(|shell| shell.command(&statement.command));
            return Done::next(Some(true));
        }
        let mut done = self.command(&statement.command);
        if statement.negated {
            done.status = done.status.map(|status| !status);
        }
        done
    }

    fn command(&mut self, command: &Command) -> Done {
        match command {
            Command::Simple(simple) => {
                let is_bare = simple.name.parts.is_empty() || simple.name.render(&self.text.source).is_empty();
                if is_bare {
                    self.assignments(&simple.assignments);
                    return Done::next(Some(true));
                }
                self.simple(&simple.name, &simple.args, simple.span)
            }
            Command::Builtin(builtin) => {
                let flow = match builtin {
                    BuiltinCommand::Return(_) => Flow::Return,
                    BuiltinCommand::Exit(_) => Flow::Stop,
                    BuiltinCommand::Break(_) | BuiltinCommand::Continue(_) => Flow::Break,
                };
                Done { flow, status: None }
            }
            Command::Decl(declaration) => {
                self.assignments(&declaration.assignments);
                for operand in &declaration.operands {
                    match operand {
                        DeclOperand::Assignment(assignment) => self.assignment(assignment),
                        DeclOperand::Dynamic(word) => self.dynamic(word),
                        DeclOperand::Flag(_) | DeclOperand::Name(_) => {}
                    }
                }
                Done::next(Some(true))
            }
            Command::Binary(binary) => match binary.op {
                BinaryOp::And | BinaryOp::Or => self.both(&binary.left, binary.op == BinaryOp::And, &binary.right),
                BinaryOp::Pipe | BinaryOp::PipeAll => {
                    self.aside(|shell| {
                        shell.statement(&binary.left);
                        shell.statement(&binary.right);
                    });
                    Done::next(None)
                }
            },
            Command::Compound(compound) => self.compound(compound),
            Command::Function(function) => {
                let body = Rc::new((*function.body).clone());
                for (name, _) in function.static_name_entries() {
                    let function = Function { body: Rc::clone(&body), text: Rc::clone(&self.text) };
                    self.state.functions.insert(name.as_str().to_owned(), function);
                }
                Done::next(Some(true))
            }
            Command::AnonymousFunction(function) => self.statement(&function.body),
        }
    }

    /// `left && right`, `left || right`.
    fn both(&mut self, left: &Stmt, is_and: bool, right: &Stmt) -> Done {
        let first = self.statement(left);
        if first.flow != Flow::Next {
            return first;
        }
        match first.status {
            Some(status) if status == is_and => self.statement(right),
            Some(_) => first,
            None => {
                let second = self.perhaps(|shell| shell.statement(right));
                let join = if is_and { and } else { or };
                Done::next(join(None, second.status))
            }
        }
    }

    fn assignments(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            self.assignment(assignment);
        }
    }

    fn assignment(&mut self, assignment: &Assignment) {
        let name = assignment.target.name.as_str();
        let is_zsh_path = self.dialect == Dialect::Zsh && name == "path";
        let mut value = match &assignment.value {
            AssignmentValue::Scalar(word) if assignment.target.subscript.is_none() => self.word(word),
            AssignmentValue::Compound(array) if is_zsh_path => {
                let mut all = Value::default();
                for element in &array.elements {
                    let ArrayElem::Sequential(word) = element else { continue };
                    let text = word.word.render(&self.text.source);
                    // zsh ties the array to PATH.
                    let value = if text == "$path" { self.variable("PATH") } else { self.word(&word.word) };
                    if all.is_empty() != Some(true) {
                        all.push_text(":");
                    }
                    all.push(value);
                }
                all
            }
            _ => Value::unknown(format!("the array {name}")),
        };
        let name = if is_zsh_path { "PATH" } else { name };
        if assignment.append {
            let mut all = self.variable(name);
            if is_zsh_path {
                all.push_text(":");
            }
            all.push(value);
            value = all;
        }
        self.assign(name, value, assignment.span);
    }

    /// `export "NAME=value"`, whose quotes hide the assignment from the parser.
    fn dynamic(&mut self, word: &Word) {
        let value = self.word(word);
        match value.known().and_then(|text| text.split_once('=')) {
            Some((name, text)) => {
                let (name, text) = (name.to_owned(), Value::text(text));
                self.assign(&name, text, word.span);
            }
            None if word.render(&self.text.source).contains("PATH=") => {
                let line = self.line(word.span);
                self.note(line, "what is assigned to PATH is not known".to_owned());
            }
            None => {}
        }
    }
}
