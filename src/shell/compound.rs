//! Compound commands: branches, `case`, loops and groups.

use shuck_ast::{CaseItem, CaseTerminator, CompoundCommand, Span, StmtSeq};

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
                self.case(&word, &case.cases)
            }
            CompoundCommand::For(each) => {
                let name = each.targets.first().and_then(|target| target.name.clone());
                let values = match &each.words {
                    Some(words) => self.all_words(words),
                    None => self.arguments.clone(),
                };
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
            CompoundCommand::Repeat(repeat) => self.some_rounds(&repeat.body),
            CompoundCommand::ArithmeticFor(each) => {
                for span in [each.init_span, each.condition_span, each.step_span].into_iter().flatten() {
                    self.calculated(span);
                }
                self.some_rounds(&each.body)
            }
            CompoundCommand::Select(each) => {
                self.assign(each.variable.as_str(), Value::unknown("what is chosen"), each.span);
                self.some_rounds(&each.body)
            }
            CompoundCommand::Foreach(each) => self.some_rounds(&each.body),
            CompoundCommand::Arithmetic(arithmetic) => {
                arithmetic.expr_span.into_iter().for_each(|span| self.calculated(span));
                Done::next(None)
            }
            CompoundCommand::Coproc(_) => Done::next(None),
        }
    }

    /// The ways of a `case` from an item on.
    fn case(&mut self, word: &Value, items: &[CaseItem]) -> Done {
        let Some((item, rest)) = items.split_first() else { return Done::next(Some(true)) };
        let mut is_met = Some(false);
        for pattern in &item.patterns {
            let fits = match (word.known(), self.pattern(pattern)) {
                (Some(text), Some(pieces)) if text.len() <= pattern::LONGEST => Some(pattern::matches(&pieces, text)),
                // `*` takes whatever it is.
                (None, Some(pieces)) if pieces == [pattern::Piece::AnyString] => Some(true),
                _ => None,
            };
            is_met = or(is_met, fits);
        }
        match is_met {
            Some(true) => self.item(word, item, rest),
            Some(false) => self.case(word, rest),
            None => self.either(|shell| shell.item(word, item, rest), |shell| shell.case(word, rest)),
        }
    }

    /// The body of an item that is met, and what its end leads on to.
    fn item(&mut self, word: &Value, item: &CaseItem, rest: &[CaseItem]) -> Done {
        let done = self.statements(&item.body);
        if done.flow != Flow::Next || item.terminator == CaseTerminator::Break {
            return done;
        }
        let next = |shell: &mut Self| match (item.terminator, rest.split_first()) {
            (CaseTerminator::FallThrough, Some((next, rest))) => shell.item(word, next, rest),
            (CaseTerminator::FallThrough, None) => Done::next(None),
            _ => shell.case(word, rest),
        };
        self.then(done, next)
    }

    /// What follows after something that may have ended otherwise.
    pub(super) fn then(&mut self, done: Done, rest: impl FnOnce(&mut Self) -> Done) -> Done {
        let Some(flow) = done.maybe else { return rest(self) };
        // Where the shell ends it does not matter what would have followed.
        let after = if flow == Flow::Stop { rest(self) } else { self.perhaps(rest) };
        if flow == Flow::Stop {
            return Done { maybe: after.maybe.max(Some(flow)), ..after };
        }
        Done { maybe: after.maybe.max(Some(flow)), ..Done::next(None) }
    }

    /// A loop that goes round an unknown number of times.
    fn some_rounds(&mut self, body: &StmtSeq) -> Done {
        let done = self.perhaps(|shell| shell.statements(body));
        let flow = done.maybe.or((done.flow != Flow::Next).then_some(done.flow));
        Done { maybe: flow.filter(|flow| matches!(flow, Flow::Return | Flow::Stop)), ..Done::next(None) }
    }

    /// Forgets what a calculation may assign.
    pub(super) fn calculated(&mut self, span: Span) {
        let text = span.slice(&self.source()).to_owned();
        let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        for name in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(is_name) {
            self.assign(name, Value::unknown(format!("what ${name} is, which is calculated")), span);
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
            None => self.either(|shell| shell.statements(body), |shell| shell.branches(rest, otherwise)),
        }
    }

    fn rounds(&mut self, name: Option<&str>, values: Option<Vec<Value>>, body: &StmtSeq, span: Span) -> Done {
        let name = name.unwrap_or_default().to_owned();
        let Some(values) = values else {
            self.assign(&name, Value::unknown(format!("what ${name} is in the loop")), span);
            return self.some_rounds(body);
        };
        if values.len() > MOST_ROUNDS {
            let line = self.line(span);
            self.note(line, "the loop has too many rounds to follow them all".to_owned());
        }
        self.each(&name, values.get(..MOST_ROUNDS).unwrap_or(&values), body, span)
    }

    fn each(&mut self, name: &str, values: &[Value], body: &StmtSeq, span: Span) -> Done {
        let mut status = Some(true);
        for (number, value) in values.iter().enumerate() {
            self.assign(name, value.clone(), span);
            let done = self.statements(body);
            status = done.status;
            match done.flow {
                Flow::Next if done.maybe.is_some() => {
                    let rest = &values[number + 1..];
                    let after = self.then(done, |shell| shell.each(name, rest, body, span));
                    let maybe = after.maybe.filter(|flow| matches!(flow, Flow::Return | Flow::Stop));
                    return Done { maybe, ..Done::next(None) };
                }
                Flow::Next | Flow::Continue(1) => {}
                Flow::Break(1) => break,
                flow => return Done { flow: outer(flow), ..Done::next(None) },
            }
        }
        Done::next(status)
    }

    /// A loop is followed while its condition is known.
    fn loop_body(&mut self, condition: &StmtSeq, body: &StmtSeq, goes_on_if: bool) -> Done {
        for _ in 0..MOST_ROUNDS {
            let tested = self.statements(condition);
            if tested.flow != Flow::Next {
                return tested;
            }
            match tested.status {
                Some(status) if status != goes_on_if => return Done::next(Some(true)),
                Some(_) if tested.maybe.is_none() => {}
                _ => return self.some_rounds(body),
            }
            let done = self.statements(body);
            match done.flow {
                Flow::Next if done.maybe.is_some() => {
                    let after = self.then(done, |shell| shell.some_rounds(body));
                    let maybe = after.maybe.filter(|flow| matches!(flow, Flow::Return | Flow::Stop));
                    return Done { maybe, ..Done::next(None) };
                }
                Flow::Next | Flow::Continue(1) => {}
                Flow::Break(1) => return Done::next(Some(true)),
                flow => return Done { flow: outer(flow), ..Done::next(None) },
            }
        }
        self.some_rounds(body)
    }
}

/// What is left of a way out of several loops after one of them.
fn outer(flow: Flow) -> Flow {
    match flow {
        Flow::Break(loops) => Flow::Break(loops - 1),
        Flow::Continue(loops) => Flow::Continue(loops - 1),
        flow => flow,
    }
}
