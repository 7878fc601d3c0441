//! Commands that change the shell itself: functions, `source`, `eval`, `test`, `read`, `set` and the like. All others run
//! in processes of their own and change nothing here.

use std::collections::BTreeMap;
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
            if function.is_certain {
                return self.call(&function, arguments, span);
            }
            return self.perhaps(|shell| shell.call(&function, arguments, span));
        }
        self.builtin(&name, arguments, span)
    }

    fn builtin(&mut self, name: &str, arguments: &[Word], span: Span) -> Done {
        match name {
            "export" | "declare" | "typeset" | "local" | "readonly" => {
                self.declare_words(name, arguments);
                Done::next(Some(true))
            }
            "shopt" => self.shopt(arguments),
            "exec" if !arguments.is_empty() => {
                let line = self.line(span);
                self.end(line);
                Done { flow: Flow::Stop, ..Done::next(None) }
            }
            "printf" | "wait" if arguments.first().is_some_and(|word| self.is_written(word, &["-v", "-p"])) => {
                if let Some(name) = arguments.get(1).map(|word| self.word(word)) {
                    let what = Value::unknown("what is printed");
                    name.known().map(str::to_owned).into_iter().for_each(|name| self.assign(&name, what.clone(), span));
                }
                Done::next(Some(true))
            }
            "trap" => {
                if arguments.first().is_some_and(|word| word.render(&self.text.source).contains("PATH")) {
                    self.lose_path(span, "what a trap assigns");
                }
                Done::next(Some(true))
            }
            ":" | "true" | "echo" | "printf" | "alias" | "umask" | "exec" => {
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
            // Neither calls functions.
            "builtin" | "command" => match arguments.split_first() {
                Some((first, rest)) if !first.render(&self.text.source).starts_with('-') => {
                    match self.word(first).known().map(str::to_owned) {
                        Some(name) => self.builtin(&name, rest, span),
                        None => Done::next(None),
                    }
                }
                _ => Done::next(self.is_command(arguments)),
            },
            "type" | "which" | "hash" => Done::next(self.is_command(arguments)),
            "unset" => {
                let is_function = arguments.first().is_some_and(|word| self.is_written(word, &["-f"]));
                for argument in arguments {
                    let value = self.word(argument);
                    let Some(name) = value.known() else { continue };
                    // Without an option a function goes where there is no such variable.
                    let is_variable = !is_function && self.state.variables.remove(name).is_some();
                    if !is_variable {
                        self.state.functions.remove(name);
                    }
                }
                Done::next(Some(true))
            }
            "let" => {
                arguments.iter().for_each(|word| self.calculated(word.span));
                Done::next(None)
            }
            "read" | "mapfile" | "readarray" | "getopts" => {
                for argument in arguments {
                    if let Some(name) = self.word(argument).known().map(str::to_owned) {
                        self.assign(&name, Value::unknown(format!("what ${name} is, which is read")), span);
                    }
                }
                Done::next(None)
            }
            "shift" => {
                let by = arguments.first().map_or(Value::text("1"), |word| self.word(word));
                let by = by.known().and_then(|text| text.parse::<usize>().ok());
                self.arguments = match (self.arguments.take(), by) {
                    (Some(all), Some(by)) if by <= all.len() => Some(all[by..].to_vec()),
                    (Some(all), Some(_)) => {
                        self.arguments = Some(all);
                        return Done::next(Some(false));
                    }
                    _ => None,
                };
                Done::next(Some(true))
            }
            "set" => self.set(arguments, span),
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
        let arguments = self.all_words(arguments);
        let outer = (
            std::mem::replace(&mut self.arguments, arguments),
            std::mem::replace(&mut self.text, Rc::clone(&function.text)),
            self.called_at.replace(line),
        );
        self.depth += 1;
        self.scopes.push(BTreeMap::new());
        let done = self.statement(&function.body);
        self.leave_scope();
        self.depth -= 1;
        (self.arguments, self.text, self.called_at) = outer;
        done.returned()
    }

    /// Whether a word stands as one of these.
    fn is_written(&self, word: &Word, texts: &[&str]) -> bool {
        texts.contains(&word.render(&self.text.source).as_str())
    }

    /// `set`: positional parameters, and the options that change what scripts do.
    fn set(&mut self, arguments: &[Word], span: Span) -> Done {
        let mut rest = arguments;
        while let Some((first, more)) = rest.split_first() {
            let text = first.render(&self.text.source);
            if text == "--" {
                self.arguments = self.all_words(more);
                return Done::next(Some(true));
            }
            rest = more;
            let (Some(letters), is_on) = (text.strip_prefix(['-', '+']), text.starts_with('-')) else {
                self.arguments = self.all_words(arguments);
                return Done::next(Some(true));
            };
            let mut names: Vec<String> = letters.chars().map(String::from).collect();
            if letters.ends_with('o') {
                names.pop();
                let (name, more) = rest
                    .split_first()
                    .map_or((String::new(), rest), |(word, more)| (word.render(&self.text.source), more));
                rest = more;
                let letter = match name.as_str() {
                    "errexit" => "e",
                    "nounset" => "u",
                    "noexec" => "n",
                    name => name,
                };
                names.push(letter.to_owned());
            }
            for name in names.into_iter().filter(|_| self.muted == 0) {
                if is_on {
                    self.options.insert(name)
                } else {
                    self.options.remove(&name)
                };
            }
        }
        if self.options.contains("n") && !self.world.mode.is_interactive() {
            let line = self.line(span);
            self.end(line);
            return Done { flow: Flow::Stop, ..Done::next(None) };
        }
        Done::next(Some(true))
    }

    /// `shopt`, whose `nullglob` decides what patterns without files become.
    fn shopt(&mut self, arguments: &[Word]) -> Done {
        let words: Vec<String> = arguments.iter().map(|word| word.render(&self.text.source)).collect();
        match words.first().map(String::as_str) {
            Some("-s") => self.options.extend(words.into_iter().skip(1)),
            Some("-u") => self.options.retain(|name| !words.contains(name)),
            Some(_) if words.iter().any(|word| word == "login_shell") && !self.world.mode.is_interactive() => {
                return Done::next(Some(false));
            }
            _ => return Done::next(None),
        }
        Done::next(Some(true))
    }

    fn sourced_command(&mut self, arguments: &[Word], span: Span) -> Done {
        let line = self.line(span);
        let Some(first) = arguments.first() else { return Done::next(Some(false)) };
        let path = self.word(first);
        match path.known().map(str::to_owned) {
            Some(path) if path.starts_with('/') => self.source_file(&path, line),
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
                let done = self.run_text(&text, line);
                self.called_at = outer;
                done
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
