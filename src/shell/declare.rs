//! Declarations: `export`, `local`, `declare` and the like, and whose variables they make.

use shuck_ast::{DeclClause, DeclOperand, Span, Word};

use super::evaluate::Shell;
use super::value::Value;

impl Shell<'_, '_> {
    /// Follows a declaration.
    pub(super) fn declare(&mut self, declaration: &DeclClause) {
        let flags: Vec<String> = declaration
            .operands
            .iter()
            .filter_map(|operand| match operand {
                DeclOperand::Flag(word) => Some(word.render(&self.text.source)),
                _ => None,
            })
            .collect();
        let has = |letter: char| flags.iter().any(|flag| flag.starts_with('-') && flag.contains(letter));
        let is_local = self.is_local(declaration.variant.as_str(), has('g'));
        // These change what is assigned.
        let is_changed = ['i', 'u', 'l', 'c', 'a', 'A'].into_iter().any(has);
        for operand in &declaration.operands {
            match operand {
                DeclOperand::Flag(_) => {}
                DeclOperand::Assignment(assignment) => {
                    let name = assignment.target.name.as_str();
                    if is_local {
                        self.make_local(name);
                    }
                    self.assignment(assignment);
                    if has('n') {
                        self.references.insert(name.to_owned());
                    } else if is_changed {
                        self.assign(name, Value::unknown(format!("what ${name} is")), assignment.span);
                    }
                }
                DeclOperand::Name(reference) => {
                    let name = reference.name.as_str();
                    if is_local {
                        self.make_local(name);
                        self.state.variables.remove(name);
                    }
                    if has('n') {
                        self.references.insert(name.to_owned());
                    }
                }
                DeclOperand::Dynamic(word) => self.dynamic(word, is_local),
            }
        }
    }

    /// Follows a declaration that stands behind `command` or `builtin`.
    pub(super) fn declare_words(&mut self, variant: &str, words: &[Word]) {
        let has_global = words.iter().any(|word| word.render(&self.text.source).starts_with("-g"));
        let is_local = self.is_local(variant, has_global);
        for word in words {
            self.dynamic(word, is_local);
        }
    }

    fn is_local(&self, variant: &str, is_global: bool) -> bool {
        matches!(variant, "local" | "declare" | "typeset") && !is_global && !self.scopes.is_empty()
    }

    /// Remembers what a variable is outside of the function.
    fn make_local(&mut self, name: &str) {
        let outside = self.state.variables.get(name).cloned();
        if let Some(scope) = self.scopes.last_mut() {
            scope.entry(name.to_owned()).or_insert(outside);
        }
    }

    /// Gives the variables of a function that has ended back to what is outside of it.
    pub(super) fn leave_scope(&mut self) {
        for (name, value) in self.scopes.pop().into_iter().flatten() {
            match value {
                Some(value) => drop(self.state.variables.insert(name, value)),
                None => drop(self.state.variables.remove(&name)),
            }
        }
    }

    /// `export "NAME=value"`, whose quotes hide the assignment from the parser.
    fn dynamic(&mut self, word: &Word, is_local: bool) {
        let value = self.word(word);
        match value.known().and_then(|text| text.split_once('=')) {
            Some((name, text)) => {
                let (name, text) = (name.to_owned(), Value::text(text));
                if is_local {
                    self.make_local(&name);
                }
                self.assign(&name, text, word.span);
            }
            None if word.render(&self.text.source).contains("PATH=") => self.lose_path(word.span, "what is assigned"),
            None => {}
        }
    }

    /// `PATH` gets a value that is not known.
    pub(super) fn lose_path(&mut self, span: Span, what: &str) {
        let line = self.line(span);
        self.note(line, format!("{what} to PATH is not known"));
        self.assign("PATH", Value::unknown("what PATH is"), span);
    }
}
