//! Ways that a shell may or may not take: both are followed, and what they leave different is not known afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use shuck_ast::Stmt;

use super::evaluate::{Done, Flow, Shell};
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
    /// Whether it is this one whatever the conditions.
    pub(super) is_certain: bool,
}

impl Shell<'_, '_> {
    /// Follows a way that may not be taken. What it leaves different is not known afterwards.
    pub(super) fn perhaps(&mut self, way: impl FnOnce(&mut Self) -> Done) -> Done {
        self.either(way, |_| Done::next(None))
    }

    /// Follows two ways of which one is taken.
    pub(super) fn either(
        &mut self,
        one: impl FnOnce(&mut Self) -> Done,
        other: impl FnOnce(&mut Self) -> Done,
    ) -> Done {
        let before = self.state.clone();
        let first = one(self);
        let after_first = std::mem::replace(&mut self.state, before);
        let second = other(self);
        // What ends the shell leaves nothing behind.
        if first.flow != Flow::Stop {
            if second.flow == Flow::Stop {
                self.state = after_first;
            } else {
                self.state.merge(after_first, &mut self.uncertain);
            }
        }
        let status = if first.status == second.status { first.status } else { None };
        if first.flow == second.flow {
            return Done { flow: first.flow, status, maybe: first.maybe.max(second.maybe) };
        }
        let ends = |done: Done| (done.flow != Flow::Next).then_some(done.flow);
        let maybe = [first.maybe, second.maybe, ends(first), ends(second)].into_iter().max().flatten();
        Done { flow: Flow::Next, status: None, maybe }
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
    /// Takes what two ways leave; folders that are on `PATH` by one of them only are uncertain.
    fn merge(&mut self, other: Self, uncertain: &mut BTreeSet<String>) {
        for (name, value) in &other.variables {
            if self.variables.get(name) != Some(value) {
                let both = merged(name, self.variables.get(name), Some(value), uncertain);
                self.variables.insert(name.clone(), both);
            }
        }
        for (name, value) in &mut self.variables {
            if !other.variables.contains_key(name) {
                *value = merged(name, Some(value), None, uncertain);
            }
        }
        for (name, function) in &mut self.functions {
            let is_same = |other: &Function| Rc::ptr_eq(&other.body, &function.body) && other.is_certain;
            function.is_certain &= other.functions.get(name).is_some_and(is_same);
        }
        for (name, function) in other.functions {
            self.functions.entry(name).or_insert(Function { is_certain: false, ..function });
        }
        self.is_full |= other.is_full;
    }
}

/// The value of a variable that has one or another. Of `PATH` the folders that both begin and end with are known.
fn merged(name: &str, one: Option<&Value>, other: Option<&Value>, uncertain: &mut BTreeSet<String>) -> Value {
    let unknown = || Value::unknown(format!("what ${name} is, which depends on a condition"));
    if name != "PATH" {
        return unknown();
    }
    let folders = |value: Option<&Value>| value.map(Value::folders).unwrap_or_default();
    let (one, other) = (folders(one), folders(other));
    let same = |(one, other): &(&Value, &Value)| one == other;
    let start = one.iter().zip(&other).take_while(same).count();
    let head = &one[..start];
    let (one, other) = (&one[start..], &other[start..]);
    let end = one.iter().rev().zip(other.iter().rev()).take_while(same).count();
    let (middle, tail) = one.split_at(one.len() - end);
    let other_middle = &other[..other.len() - end];
    uncertain.extend(middle.iter().chain(other_middle).filter_map(|folder| Some(folder.known()?.to_owned())));
    let mut all = Value::default();
    for (number, folder) in head.iter().cloned().chain([unknown()]).chain(tail.iter().cloned()).enumerate() {
        if number > 0 {
            all.push_text(":");
        }
        all.push(folder);
    }
    all
}
