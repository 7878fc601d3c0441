//! Ways that a shell may or may not take: both are followed, and what they leave different is not known afterwards.

use std::collections::BTreeMap;
use std::rc::Rc;

use shuck_ast::Stmt;

use super::evaluate::Shell;
use super::parse::Parsed;
use super::value::Value;

/// What a branch can change.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) variables: BTreeMap<String, Value>,
    pub(super) functions: BTreeMap<String, Function>,
    /// Whether there are more variables than are kept, so that one that is not kept may be set.
    pub(super) is_full: bool,
}

/// A function and the text that its body's places are in.
#[derive(Clone)]
pub(super) struct Function {
    pub(super) body: Rc<Stmt>,
    pub(super) text: Rc<Parsed>,
}

impl Shell<'_, '_> {
    /// Follows a way that may not be taken.
    pub(super) fn perhaps<T>(&mut self, way: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.state.clone();
        let done = way(self);
        self.state.merge(before);
        done
    }

    /// Follows a way whose changes nobody sees afterwards, as in a subshell. What it adds to `PATH` does not count.
    pub(super) fn aside<T>(&mut self, way: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.state.clone();
        self.muted += 1;
        let done = way(self);
        self.muted -= 1;
        self.state = before;
        done
    }
}

impl State {
    fn merge(&mut self, other: Self) {
        for (name, value) in &other.variables {
            if self.variables.get(name) != Some(value) {
                let both = merged(name, self.variables.get(name), Some(value));
                self.variables.insert(name.clone(), both);
            }
        }
        for (name, value) in &mut self.variables {
            if !other.variables.contains_key(name) {
                *value = merged(name, Some(value), None);
            }
        }
        for (name, function) in other.functions {
            self.functions.entry(name).or_insert(function);
        }
        self.is_full |= other.is_full;
    }
}

/// The value of a variable that has one or another. Of `PATH` the longer one is kept: what is in either is told already.
fn merged(name: &str, one: Option<&Value>, other: Option<&Value>) -> Value {
    match (one, other) {
        (Some(one), Some(other)) if name == "PATH" => {
            if one.folders().len() >= other.folders().len() {
                one.clone()
            } else {
                other.clone()
            }
        }
        _ => Value::unknown(format!("what ${name} is, which depends on a condition")),
    }
}
