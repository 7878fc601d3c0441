//! Follows the statements of a shell file: assignments, functions, branches, loops, and the files it sources.

use std::rc::Rc;

use std::collections::{BTreeMap, BTreeSet};

use shuck_ast::{
    ArrayElem, Assignment, AssignmentValue, BinaryOp, BuiltinCommand, Command, Span, Stmt, StmtSeq, StmtTerminator,
    Word,
};

use super::branches::{Function, State};
use super::conditions::{and, or};
use super::parse::{Parsed, parse};
use super::value::Value;
use super::{Addition, Budget, Content, DEEPEST, Dialect, Hook, Line, MOST_NOTES, Note, Reading, World};

/// The most variables that are kept.
const MOST_VARIABLES: usize = 400;
/// Variables that shells set themselves, to what is not known here.
const SET_BY_SHELLS: &[&str] = &[
    "BASH_VERSINFO",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "FUNCNAME",
    "GROUPS",
    "HOSTTYPE",
    "MACHTYPE",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
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
    pub(super) dialect: Dialect,
    pub(super) state: State,
    /// Of the functions that are being called, the variables that are their own, with what they are outside.
    pub(super) scopes: Vec<BTreeMap<String, Option<Value>>>,
    /// Folders that some conditions put on `PATH`, or took away.
    pub(super) uncertain: BTreeSet<String>,
    /// Names that stand for other variables.
    pub(super) references: BTreeSet<String>,
    /// Options that were set: those of `set` by their letters, those of `shopt` by their names.
    pub(super) options: BTreeSet<String>,
    /// The line that ends the shell.
    pub(super) ended: Option<Line>,

    /// The positional parameters, if they are known.
    pub(super) arguments: Option<Vec<Value>>,
    /// The file, and the parsed text that places are in.
    pub(super) file: String,
    pub(super) text: Rc<Parsed>,
    /// The line that counts in place of those of functions and evaluated text.
    pub(super) called_at: Option<Line>,
    pub(super) depth: usize,
    /// How many subshells around this.
    pub(super) muted: usize,
    pub(super) sourced: Vec<String>,
    pub(super) budget: &'b mut Budget,
    pub(super) reading: Reading,
}

/// How a statement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flow {
    Next,
    /// On to the next round of so many loops.
    Continue(usize),
    /// Out of so many loops.
    Break(usize),
    Return,
    Stop,
}

/// What a statement leaves: where to go on, and whether it succeeded, if that can be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) flow: Flow,
    pub(super) status: Option<bool>,
    /// Where it may have gone on instead, by a condition that is not known.
    pub(super) maybe: Option<Flow>,
}

impl Done {
    /// What is left of it behind a function or a file, which `return` ends.
    pub(super) fn returned(self) -> Self {
        let is_stop = |flow: &Flow| *flow == Flow::Stop;
        let flow = if is_stop(&self.flow) { Flow::Stop } else { Flow::Next };
        Self { flow, status: self.status, maybe: self.maybe.filter(is_stop) }
    }

    pub(super) fn next(status: Option<bool>) -> Self {
        Self { flow: Flow::Next, status, maybe: None }
    }
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
            "-" if self.world.mode.is_interactive() => return Some(Value::text("himBHs")),
            "-" => return Some(Value::text("hB")),
            "#" | "@" | "*" if self.arguments.is_none() => {
                return Some(Value::unknown(format!("what ${name} is, which depends on the script")));
            }
            "0" if !self.world.mode.is_interactive() => return Some(Value::unknown("the script's name")),
            "#" => return Some(Value::text(self.arguments.iter().flatten().count().to_string())),
            "0" => return Some(Value::text("bash")),
            "BASH_SOURCE" if self.called_at.is_none() => return Some(Value::text(&self.file)),
            "?" | "$" | "!" | "_" => return Some(Value::unknown(format!("${name}"))),
            "@" | "*" => {
                let mut all = Value::default();
                for (number, argument) in self.arguments.iter().flatten().enumerate() {
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
            let Some(arguments) = &self.arguments else {
                return Some(Value::unknown(format!("what ${name} is, which depends on the script")));
            };
            return number.checked_sub(1).and_then(|at| arguments.get(at)).cloned();
        }
        let own = self.state.variables.get(name).cloned();
        let may_be_set = self.state.is_full || SET_BY_SHELLS.contains(&name);
        own.or_else(|| may_be_set.then(|| Value::unknown(format!("what ${name} is"))))
    }

    /// Sets a variable; of `PATH`, notes what is added.
    pub(super) fn assign(&mut self, name: &str, value: Value, span: Span) {
        if name == "PATH" {
            self.note_path(&value, span);
            self.uncertain.retain(|folder| !value.folders().iter().any(|own| own.known() == Some(folder.as_str())));
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

    /// Reads a file, if it is there.
    pub(super) fn source_file(&mut self, path: &str, line: Line) -> Done {
        let content = match self.world.content(path) {
            Content::Missing => return Done::next(Some(false)),
            Content::NotKept(why) => {
                if self.depth == 0 {
                    self.note(line, why);
                } else {
                    self.hook(line, Some(path.to_owned()));
                }
                return Done::next(None);
            }
            Content::Text(text) => text.into_owned(),
        };
        if self.depth > 0 {
            self.hook(line.clone(), Some(path.to_owned()));
        }
        if self.depth >= DEEPEST || self.sourced.iter().filter(|known| *known == path).count() > 1 {
            self.note(line, format!("{path} is sourced again and again"));
            return Done::next(None);
        }
        if self.budget.files == 0 {
            self.note(line, format!("{path} was not read: there are too many such files"));
            return Done::next(None);
        }
        self.budget.files -= 1;
        self.sourced.push(path.to_owned());
        let before = (std::mem::replace(&mut self.file, path.to_owned()), self.called_at.take());
        let done = self.run_text(&content, Line { file: path.to_owned(), ..Line::default() });
        (self.file, self.called_at) = before;
        self.sourced.pop();
        done
    }

    /// Parses and follows a text; a `return` ends it. `whole` stands for all of it.
    pub(super) fn run_text(&mut self, text: &str, whole: Line) -> Done {
        let Some(left) = self.budget.text.checked_sub(text.len()) else {
            self.note(whole.clone(), format!("{} was not read: there is too much text in such files", whole.file));
            return Done::next(None);
        };
        self.budget.text = left;
        let parsed = match parse(text, self.dialect) {
            Ok(parsed) => Rc::new(parsed),
            Err((number, why)) => {
                self.note(Line { number, ..whole.clone() }, format!("{} could not be read: {why}", whole.file));
                return Done::next(None);
            }
        };
        if let Some((number, why)) = &parsed.skipped {
            self.note(
                Line { number: *number, ..whole.clone() },
                format!("{} could not be read in full: {why}", whole.file),
            );
        }
        if let Some(number) = text.lines().position(|line| line.ends_with('\r')) {
            let line = Line { number: number + 1, ..whole.clone() };
            self.note(line, "its lines end with CR LF, and the CR counts as a part of their last words".to_owned());
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.text, Rc::clone(&parsed));
        let done = self.statements(&parsed.file.body);
        self.text = before;
        self.depth -= 1;
        done.returned()
    }

    pub(super) fn statements(&mut self, sequence: &StmtSeq) -> Done {
        self.sequence(sequence.as_slice())
    }

    fn sequence(&mut self, statements: &[Stmt]) -> Done {
        let mut done = Done::next(Some(true));
        let mut may_stop = None;
        for (number, statement) in statements.iter().enumerate() {
            done = self.statement(statement);
            if done.flow != Flow::Next {
                break;
            }
            match done.maybe {
                // Where the shell ends it does not matter what would have followed.
                Some(Flow::Stop) => may_stop = done.maybe,
                Some(_) => {
                    done = self.then(done, |shell| shell.sequence(&statements[number + 1..]));
                    break;
                }
                None => {}
            }
        }
        Done { maybe: done.maybe.max(may_stop), ..done }
    }

    pub(super) fn statement(&mut self, statement: &Stmt) -> Done {
        if self.budget.statements == 0 {
            let line = Line { file: self.file.clone(), ..Line::default() };
            self.note(line, "the shell files have too many statements to follow them all".to_owned());
            return Done { flow: Flow::Stop, ..Done::next(None) };
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
                let mut number = |word: &Option<Word>| match word {
                    Some(word) => self.word(word).known().and_then(|text| text.trim().parse::<usize>().ok()),
                    None => None,
                };
                let (flow, status) = match builtin {
                    BuiltinCommand::Return(command) => (Flow::Return, number(&command.code).map(|code| code == 0)),
                    BuiltinCommand::Exit(command) => {
                        let line = self.line(command.span);
                        self.end(line);
                        (Flow::Stop, None)
                    }
                    BuiltinCommand::Break(command) => (Flow::Break(number(&command.depth).unwrap_or(1).max(1)), None),
                    BuiltinCommand::Continue(command) => {
                        (Flow::Continue(number(&command.depth).unwrap_or(1).max(1)), None)
                    }
                };
                Done { flow, status, maybe: None }
            }
            Command::Decl(declaration) => {
                self.assignments(&declaration.assignments);
                self.declare(declaration);
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
                    let function = Function { body: Rc::clone(&body), text: Rc::clone(&self.text), is_certain: true };
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
        let second = match first.status {
            Some(_) if first.maybe.is_some() => None,
            status => status,
        };
        match second {
            Some(status) if status == is_and => self.statement(right),
            Some(_) => first,
            None => {
                let second = self.perhaps(|shell| shell.statement(right));
                let join = if is_and { and } else { or };
                let ends = (second.flow != Flow::Next).then_some(second.flow);
                Done { maybe: first.maybe.max(second.maybe).max(ends), ..Done::next(join(None, second.status)) }
            }
        }
    }

    /// Notes the line that ends the shell.
    pub(super) fn end(&mut self, line: Line) {
        if self.muted == 0 {
            self.ended.get_or_insert(line);
        }
    }

    fn assignments(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            self.assignment(assignment);
        }
    }

    pub(super) fn assignment(&mut self, assignment: &Assignment) {
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
        if self.references.contains(name) {
            let line = self.line(assignment.span);
            self.note(line, format!("{name} is another name of a variable, and what is assigned is not followed"));
            self.assign("PATH", Value::unknown("what PATH is"), assignment.span);
            return;
        }
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
}
