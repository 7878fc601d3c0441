//! Commands that change the shell itself: functions, `source`, `eval`, `test`, `read`, `set` and the like. All others run
//! in processes of their own and change nothing here.

use std::rc::Rc;

use shuck_ast::{Span, Word};

use super::DEEPEST;
use super::branches::Function;
use super::evaluate::{Done, Flow, Shell};
use super::value::Value;
use crate::layer::Kind;
use crate::layer::path::parent_and_name;

impl Shell<'_, '_> {
    /// Follows a command by its name.
    pub(super) fn simple(&mut self, name: &Word, arguments: &[Word], span: Span) -> Done {
        let name = self.word(name);
        let Some(name) = name.known().map(str::to_owned) else { return Done::next(None) };
        if let Some(function) = self.state.functions.get(&name).cloned() {
            return self.call(&function, arguments, span);
        }
        match name.as_str() {
            ":" | "true" | "echo" | "printf" | "alias" | "shopt" | "umask" | "export" => {
                // Expanding may assign: `: ${X:=y}`.
                self.all(arguments);
                Done::next(Some(true))
            }
            "false" => Done::next(Some(false)),
            "test" => {
                let words = self.all(arguments);
                Done::next(self.test(&words))
            }
            "[" => {
                let words = self.all(arguments);
                Done::next(words.split_last().and_then(|(_, inner)| self.test(inner)))
            }
            "." | "source" => self.sourced_command(arguments, span),
            "eval" => self.eval(arguments, span),
            "builtin" | "command" => match arguments.split_first() {
                Some((first, rest)) if !first.render(&self.text.source).starts_with('-') => {
                    self.simple(first, rest, span)
                }
                _ => Done::next(self.is_command(arguments)),
            },
            "type" | "which" | "hash" => Done::next(self.is_command(arguments)),
            "unset" => {
                for argument in arguments {
                    if let Some(name) = self.word(argument).known() {
                        self.state.variables.remove(name);
                    }
                }
                Done::next(Some(true))
            }
            "read" | "mapfile" | "readarray" | "getopts" | "let" => {
                for argument in arguments {
                    if let Some(name) = self.word(argument).known().map(str::to_owned) {
                        self.assign(&name, Value::unknown(format!("what ${name} is, which is read")), span);
                    }
                }
                Done::next(None)
            }
            "shift" => {
                if !self.arguments.is_empty() {
                    self.arguments.remove(0);
                }
                Done::next(Some(true))
            }
            "set" => {
                if arguments.first().is_some_and(|word| word.render(&self.text.source) == "--") {
                    self.arguments = self.all(&arguments[1..]);
                }
                Done::next(Some(true))
            }
            _ => Done::next(None),
        }
    }

    fn all(&mut self, words: &[Word]) -> Vec<Value> {
        words.iter().map(|word| self.word(word)).collect()
    }

    fn call(&mut self, function: &Function, arguments: &[Word], span: Span) -> Done {
        let line = self.line(span);
        if self.depth >= DEEPEST {
            self.note(line, "functions call one another too deeply".to_owned());
            return Done::next(None);
        }
        let arguments = self.all(arguments);
        let outer = (
            std::mem::replace(&mut self.arguments, arguments),
            std::mem::replace(&mut self.text, Rc::clone(&function.text)),
            self.called_at.replace(line),
        );
        self.depth += 1;
        let done = self.statement(&function.body);
        self.depth -= 1;
        (self.arguments, self.text, self.called_at) = outer;
        let flow = if done.flow == Flow::Stop { Flow::Stop } else { Flow::Next };
        Done { flow, status: done.status }
    }

    fn sourced_command(&mut self, arguments: &[Word], span: Span) -> Done {
        let line = self.line(span);
        let Some(first) = arguments.first() else { return Done::next(Some(false)) };
        let path = self.word(first);
        match path.known().map(str::to_owned) {
            Some(path) if path.starts_with('/') => {
                let status = self.source_file(&path, line);
                Done::next(status)
            }
            _ => {
                self.hook(line, None);
                Done::next(None)
            }
        }
    }

    fn eval(&mut self, arguments: &[Word], span: Span) -> Done {
        let line = self.line(span);
        let mut text = Value::default();
        for argument in arguments {
            text.push(self.word(argument));
            text.push_text(" ");
        }
        match text.known().map(str::to_owned) {
            Some(text) if self.depth < DEEPEST => {
                let outer = self.called_at.replace(line.clone());
                let status = self.run_text(&text, line);
                self.called_at = outer;
                Done::next(status)
            }
            _ => {
                self.hook(line, None);
                Done::next(None)
            }
        }
    }

    /// Whether the last argument is a function or a command on `PATH`.
    fn is_command(&mut self, arguments: &[Word]) -> Option<bool> {
        let value = self.word(arguments.last()?);
        let name = value.known()?;
        if self.state.functions.contains_key(name) {
            return Some(true);
        }
        let rootfs = self.world.rootfs;
        let is_program = |path: &str| {
            let node = rootfs.find(path).ok()?;
            Some(node.kind == Kind::File && node.mode & 0o111 != 0)
        };
        if name.starts_with('/') {
            return Some(is_program(name).unwrap_or(false));
        }
        let folders = self.variable("PATH").folders();
        if folders.iter().filter_map(Value::known).any(|folder| is_program(&format!("{folder}/{name}")) == Some(true)) {
            return Some(true);
        }
        // What is not in a file may be a builtin.
        let is_certain = folders.iter().all(|folder| folder.known().is_some()) && parent_and_name(name).1 == name;
        is_certain.then_some(false)
    }
}
