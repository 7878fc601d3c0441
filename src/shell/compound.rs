//! Compound commands: branches, `case`, loops and groups.

use shuck_ast::{CompoundCommand, Span, StmtSeq};

use super::conditions::or;
use super::evaluate::{Done, Flow, Shell};
use super::pattern;
use super::value::Value;

/// The most times that a loop is followed.
const MOST_ROUNDS: usize = 200;

impl Shell<'_, '_> {
    /// Follows a compound command.
    pub(super) fn compound(&mut self, compound: &CompoundCommand) -> Done {
        match compound {
            CompoundCommand::BraceGroup(body) => self.statements(body),
            CompoundCommand::Subshell(body) => {
                let done = self.aside(|shell| shell.statements(body));
                Done::next(done.status)
            }
            CompoundCommand::If(branch) => {
                let mut ways = vec![(&branch.condition, &branch.then_branch)];
                ways.extend(branch.elif_branches.iter().map(|(condition, body)| (condition, body)));
                self.branches(&ways, branch.else_branch.as_ref())
            }
            CompoundCommand::Case(case) => {
                let word = self.word(&case.word);
                for item in &case.cases {
                    let mut is_met = Some(false);
                    for pattern in &item.patterns {
                        let fits = match (word.known(), self.pattern(pattern)) {
                            (Some(text), Some(pieces)) if text.len() <= pattern::LONGEST => {
                                Some(pattern::matches(&pieces, text))
                            }
                            // `*` takes whatever it is.
                            (None, Some(pieces)) if pieces == [pattern::Piece::AnyString] => Some(true),
                            _ => None,
                        };
                        is_met = or(is_met, fits);
                    }
                    match is_met {
                        Some(true) => return self.statements(&item.body),
                        Some(false) => {}
                        None => drop(self.perhaps(|shell| shell.statements(&item.body))),
                    }
                }
                Done::next(None)
            }
            CompoundCommand::For(each) => {
                let name = each.targets.first().and_then(|target| target.name.clone());
                let mut values = Some(Vec::new());
                match &each.words {
                    Some(words) => {
                        for word in words {
                            match (self.words(word), &mut values) {
                                (Some(more), Some(values)) => values.extend(more),
                                _ => values = None,
                            }
                        }
                    }
                    None => values = Some(self.arguments.clone()),
                }
                self.rounds(name.as_ref().map(|name| name.as_str()), values, &each.body, each.span)
            }
            CompoundCommand::While(round) => self.loop_body(&round.condition, &round.body, true),
            CompoundCommand::Until(round) => self.loop_body(&round.condition, &round.body, false),
            CompoundCommand::Conditional(conditional) => Done::next(self.conditional(&conditional.expression)),
            CompoundCommand::Time(time) => match &time.command {
                Some(command) => self.statement(command),
                None => Done::next(None),
            },
            CompoundCommand::Always(always) => {
                self.statements(&always.body);
                self.statements(&always.always_body)
            }
            CompoundCommand::Repeat(repeat) => {
                self.perhaps(|shell| shell.statements(&repeat.body));
                Done::next(None)
            }
            CompoundCommand::ArithmeticFor(each) => {
                self.perhaps(|shell| shell.statements(&each.body));
                Done::next(None)
            }
            CompoundCommand::Select(_)
            | CompoundCommand::Foreach(_)
            | CompoundCommand::Arithmetic(_)
            | CompoundCommand::Coproc(_) => Done::next(None),
        }
    }

    fn branches(&mut self, ways: &[(&StmtSeq, &StmtSeq)], otherwise: Option<&StmtSeq>) -> Done {
        let Some(((condition, body), rest)) = ways.split_first() else {
            return otherwise.map_or(Done::next(Some(true)), |body| self.statements(body));
        };
        let tested = self.statements(condition);
        if tested.flow != Flow::Next {
            return tested;
        }
        match tested.status {
            Some(true) => self.statements(body),
            Some(false) => self.branches(rest, otherwise),
            None => {
                self.perhaps(|shell| shell.statements(body));
                self.perhaps(|shell| shell.branches(rest, otherwise));
                Done::next(None)
            }
        }
    }

    fn rounds(&mut self, name: Option<&str>, values: Option<Vec<Value>>, body: &StmtSeq, span: Span) -> Done {
        let name = name.unwrap_or_default().to_owned();
        let Some(values) = values else {
            self.perhaps(|shell| {
                shell.assign(&name, Value::unknown(format!("what ${name} is in the loop")), span);
                shell.statements(body)
            });
            return Done::next(None);
        };
        for value in values.into_iter().take(MOST_ROUNDS) {
            self.assign(&name, value, span);
            match self.statements(body).flow {
                Flow::Next | Flow::Break => {}
                flow => return Done { flow, status: None },
            }
        }
        Done::next(None)
    }

    /// A loop is followed once, as something that may happen: nobody knows how often it goes round.
    fn loop_body(&mut self, condition: &StmtSeq, body: &StmtSeq, goes_on_if: bool) -> Done {
        let tested = self.statements(condition);
        if tested.status != Some(!goes_on_if) {
            self.perhaps(|shell| shell.statements(body));
        }
        Done::next(None)
    }
}
