//! Conditions: `test`, `[ … ]` and `[[ … ]]`, true, false, or not to be told.

use shuck_ast::{ConditionalBinaryOp, ConditionalExpr, ConditionalUnaryOp};

use super::evaluate::Shell;
use super::pattern;
use super::value::Value;
use crate::layer::Kind;
use crate::rootfs::Access;

impl Shell<'_, '_> {
    /// What `test` says of its arguments (POSIX, test).
    pub(super) fn test(&self, words: &[Value]) -> Option<bool> {
        match words {
            [] => Some(false),
            [value] => value.is_empty().map(|empty| !empty),
            [not, rest @ ..] if not.known() == Some("!") => self.test(rest).map(|truth| !truth),
            [open, inner @ .., close] if open.known() == Some("(") && close.known() == Some(")") => self.test(inner),
            _ => {
                for (operator, is_or) in [("-o", true), ("-a", false)] {
                    // An operator stands between whole expressions: `-a FILE` at the start is another matter.
                    let at =
                        (2..words.len()).rev().find(|&at| words[at].known() == Some(operator) && at + 1 < words.len());
                    if let Some(at) = at {
                        let (left, right) = (self.test(&words[..at]), self.test(&words[at + 1..]));
                        return if is_or { or(left, right) } else { and(left, right) };
                    }
                }
                match words {
                    [operator, value] => self.unary(operator.known()?.strip_prefix('-')?, value),
                    [left, operator, right] => binary(left, operator.known()?, right),
                    _ => None,
                }
            }
        }
    }

    /// What `[[ … ]]` says.
    pub(super) fn conditional(&mut self, expression: &ConditionalExpr) -> Option<bool> {
        match expression {
            ConditionalExpr::Parenthesized(inner) => self.conditional(&inner.expr),
            ConditionalExpr::Word(word) => self.word(word).is_empty().map(|empty| !empty),
            ConditionalExpr::Unary(unary) if unary.op == ConditionalUnaryOp::Not => {
                self.conditional(&unary.expr).map(|truth| !truth)
            }
            ConditionalExpr::Unary(unary) => {
                let letter = letter(unary.op)?;
                let value = match unary.expr.as_ref() {
                    ConditionalExpr::Word(word) => self.word(word),
                    ConditionalExpr::VarRef(reference) => Value::text(reference.name.as_str()),
                    _ => return None,
                };
                self.unary(letter, &value)
            }
            ConditionalExpr::Binary(both) => match both.op {
                ConditionalBinaryOp::And => {
                    let left = self.conditional(&both.left);
                    if left == Some(false) { left } else { and(left, self.conditional(&both.right)) }
                }
                ConditionalBinaryOp::Or => {
                    let left = self.conditional(&both.left);
                    if left == Some(true) { left } else { or(left, self.conditional(&both.right)) }
                }
                op => {
                    let left = self.operand(&both.left)?;
                    let operator = match op {
                        ConditionalBinaryOp::PatternEq | ConditionalBinaryOp::PatternEqShort => "=",
                        ConditionalBinaryOp::PatternNe => "!=",
                        ConditionalBinaryOp::ArithmeticEq => "-eq",
                        ConditionalBinaryOp::ArithmeticNe => "-ne",
                        ConditionalBinaryOp::ArithmeticLt => "-lt",
                        ConditionalBinaryOp::ArithmeticLe => "-le",
                        ConditionalBinaryOp::ArithmeticGt => "-gt",
                        ConditionalBinaryOp::ArithmeticGe => "-ge",
                        _ => return None,
                    };
                    if let ConditionalExpr::Pattern(right) = both.right.as_ref() {
                        let pieces = self.pattern(right)?;
                        let text = left.known().filter(|text| text.len() <= pattern::LONGEST)?;
                        return Some(pattern::matches(&pieces, text) == (operator == "="));
                    }
                    let right = self.operand(&both.right)?;
                    binary(&left, operator, &right)
                }
            },
            ConditionalExpr::Pattern(_) | ConditionalExpr::Regex(_) | ConditionalExpr::VarRef(_) => None,
        }
    }

    fn operand(&mut self, expression: &ConditionalExpr) -> Option<Value> {
        match expression {
            ConditionalExpr::Word(word) => Some(self.word(word)),
            ConditionalExpr::VarRef(reference) => self.lookup(reference.name.as_str()).or(Some(Value::default())),
            _ => None,
        }
    }

    fn unary(&self, letter: &str, value: &Value) -> Option<bool> {
        match letter {
            "n" => return value.is_empty().map(|empty| !empty),
            "z" => return value.is_empty(),
            // Nobody sits at a terminal, but the files are read as for somebody who does.
            "t" => return None,
            _ => {}
        }
        let path = value.known()?;
        if letter == "v" {
            return match self.lookup(path) {
                None => Some(false),
                Some(value) => value.known().map(|_| true),
            };
        }
        let rootfs = self.world.rootfs;
        if matches!(letter, "h" | "L") {
            return Some(rootfs.is_link(path));
        }
        if !path.starts_with('/') {
            // An empty name is no file; others depend on the working folder.
            return path.is_empty().then_some(false);
        }
        // What the engine mounts is there in every container.
        if ["/dev", "/proc", "/sys"].iter().any(|folder| path == *folder || path.starts_with(&format!("{folder}/"))) {
            return None;
        }
        let Ok(node) = rootfs.find(path) else { return Some(false) };
        let may = |access| rootfs.may(self.world.account, access, &node);
        match letter {
            "e" | "a" => Some(true),
            "d" => Some(node.kind == Kind::Directory),
            "f" => Some(node.kind == Kind::File),
            "s" => Some(node.kind == Kind::Directory || node.size > 0),
            "r" => Some(may(Access::Read)),
            "w" => Some(may(Access::Write)),
            "x" => Some(may(Access::Execute)),
            _ => None,
        }
    }
}

fn letter(operator: ConditionalUnaryOp) -> Option<&'static str> {
    Some(match operator {
        ConditionalUnaryOp::Exists => "e",
        ConditionalUnaryOp::RegularFile => "f",
        ConditionalUnaryOp::Directory => "d",
        ConditionalUnaryOp::Symlink => "h",
        ConditionalUnaryOp::Readable => "r",
        ConditionalUnaryOp::Writable => "w",
        ConditionalUnaryOp::Executable => "x",
        ConditionalUnaryOp::NonEmptyFile => "s",
        ConditionalUnaryOp::EmptyString => "z",
        ConditionalUnaryOp::NonEmptyString => "n",
        ConditionalUnaryOp::VariableSet => "v",
        _ => return None,
    })
}

fn binary(left: &Value, operator: &str, right: &Value) -> Option<bool> {
    let (left, right) = (left.known()?, right.known()?);
    let numbers = || Some((left.trim().parse::<i64>().ok()?, right.trim().parse::<i64>().ok()?));
    Some(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "-eq" => numbers().map(|(left, right)| left == right)?,
        "-ne" => numbers().map(|(left, right)| left != right)?,
        "-lt" => numbers().map(|(left, right)| left < right)?,
        "-le" => numbers().map(|(left, right)| left <= right)?,
        "-gt" => numbers().map(|(left, right)| left > right)?,
        "-ge" => numbers().map(|(left, right)| left >= right)?,
        _ => return None,
    })
}

/// Both, as far as it can be told.
pub(super) fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// One of them, as far as it can be told.
pub(super) fn or(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    and(left.map(|truth| !truth), right.map(|truth| !truth)).map(|truth| !truth)
}
