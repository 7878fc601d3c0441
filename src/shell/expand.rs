//! Words become values: quotes, tildes, variables and their operators, command substitutions, and names of files.

use shuck_ast::{
    BourneParameterExpansion, Command, ParameterExpansionSyntax, ParameterOp, Pattern, PatternPart, Span, StmtSeq,
    VarRef, Word, WordPart, WordPartNode,
};

use super::evaluate::Shell;
use super::pattern::{self, LONGEST, Piece};
use super::value::Value;
use crate::layer::path::{absolute, join, parent_and_name};

/// The most files that one pattern stands for.
const MOST_NAMES: usize = 200;

impl Shell<'_, '_> {
    /// The value of a word that is not split into several.
    pub(super) fn word(&mut self, word: &Word) -> Value {
        self.parts(&word.parts, false)
    }

    /// The words that one word becomes; nothing if it cannot be told which they are.
    pub(super) fn words(&mut self, word: &Word) -> Option<Vec<Value>> {
        let source = self.source();
        let is_glob = |part: &WordPartNode| match &part.kind {
            WordPart::Literal(text) => text.as_str(&source, part.span).contains(['*', '?', '[']),
            WordPart::ZshQualifiedGlob(_) => true,
            _ => false,
        };
        if word.parts.iter().any(is_glob) {
            return self.files(word);
        }
        let value = self.word(word);
        let is_split = word.parts.iter().any(|part| {
            !matches!(part.kind, WordPart::Literal(_) | WordPart::SingleQuoted { .. } | WordPart::DoubleQuoted { .. })
        });
        if !is_split {
            return Some(vec![value]);
        }
        let text = value.known()?;
        Some(text.split_whitespace().map(Value::text).collect())
    }

    fn parts(&mut self, parts: &[WordPartNode], is_quoted: bool) -> Value {
        let source = self.source();
        let mut value = Value::default();
        for (number, part) in parts.iter().enumerate() {
            let piece = match &part.kind {
                WordPart::Literal(text) => self.literal(text.as_str(&source, part.span), number == 0, is_quoted),
                WordPart::SingleQuoted { value, .. } => Value::text(value.slice(&source)),
                WordPart::DoubleQuoted { parts, .. } => self.parts(parts, true),
                WordPart::Variable(name) => self.variable(name.as_str()),
                WordPart::CommandSubstitution { body, .. } => self.output(body, part.span),
                WordPart::Parameter(expansion) => match &expansion.syntax {
                    ParameterExpansionSyntax::Bourne(expansion) => self.parameter(expansion, part.span),
                    ParameterExpansionSyntax::Zsh(_) => self.unknown(part.span),
                },
                WordPart::ParameterExpansion { reference, operator, operand_word_ast, colon_variant, .. } => {
                    self.operation(reference, operator, operand_word_ast.as_deref(), *colon_variant, part.span)
                }
                _ => self.unknown(part.span),
            };
            value.push(piece);
        }
        value
    }

    fn literal(&self, text: &str, is_first: bool, is_quoted: bool) -> Value {
        if is_quoted {
            return Value::text(text);
        }
        let mut value = Value::default();
        // A tilde counts at the start of a word, and after each colon of an assignment.
        for (number, piece) in text.split(':').enumerate() {
            if number > 0 {
                value.push_text(":");
            }
            match piece.strip_prefix('~').filter(|_| number > 0 || is_first) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    value.push(self.variable("HOME"));
                    value.push_text(&unescaped(rest));
                }
                Some(_) => value.push(Value::unknown(format!("the home folder in {piece}"))),
                None => value.push_text(&unescaped(piece)),
            }
        }
        value
    }

    fn unknown(&self, span: Span) -> Value {
        Value::unknown(format!("what {} stands for", span.slice(&self.source())))
    }

    fn parameter(&mut self, expansion: &BourneParameterExpansion, span: Span) -> Value {
        match expansion {
            BourneParameterExpansion::Access { reference } => self.reference(reference).unwrap_or_default(),
            BourneParameterExpansion::Length { reference } => {
                let length = self.reference(reference).unwrap_or_default().known().map(|text| text.chars().count());
                length.map_or_else(|| self.unknown(span), |length| Value::text(length.to_string()))
            }
            BourneParameterExpansion::Operation { reference, operator, operand_word_ast, colon_variant, .. } => {
                self.operation(reference, operator, operand_word_ast.as_deref(), *colon_variant, span)
            }
            _ => self.unknown(span),
        }
    }

    /// The value that a reference has; nothing if it is not set.
    fn reference(&mut self, reference: &VarRef) -> Option<Value> {
        if reference.subscript.is_some() {
            return Some(Value::unknown(format!("an element of the array {}", reference.name)));
        }
        self.lookup(reference.name.as_str())
    }

    fn operation(
        &mut self,
        reference: &VarRef,
        operator: &ParameterOp,
        operand: Option<&Word>,
        with_colon: bool,
        span: Span,
    ) -> Value {
        let own = self.reference(reference);
        // With a colon an empty value counts as none.
        let is_there = match &own {
            None => Some(false),
            Some(value) if with_colon => value.is_empty().map(|empty| !empty),
            Some(_) => Some(true),
        };
        let mut other = || operand.map_or_else(Value::default, |word| self.word(word));
        match (operator, is_there) {
            (ParameterOp::UseDefault | ParameterOp::Error, Some(true)) => own.unwrap_or_default(),
            (ParameterOp::UseDefault, Some(false)) => other(),
            (ParameterOp::AssignDefault, Some(true)) => own.unwrap_or_default(),
            (ParameterOp::AssignDefault, Some(false)) => {
                let value = other();
                self.assign(reference.name.as_str(), value.clone(), span);
                value
            }
            (ParameterOp::UseReplacement, Some(true)) => other(),
            (ParameterOp::UseReplacement, Some(false)) => Value::default(),
            (ParameterOp::RemovePrefixShort { pattern }, _) => self.trimmed(own, pattern, false, false, span),
            (ParameterOp::RemovePrefixLong { pattern }, _) => self.trimmed(own, pattern, false, true, span),
            (ParameterOp::RemoveSuffixShort { pattern }, _) => self.trimmed(own, pattern, true, false, span),
            (ParameterOp::RemoveSuffixLong { pattern }, _) => self.trimmed(own, pattern, true, true, span),
            _ => self.unknown(span),
        }
    }

    fn trimmed(&mut self, own: Option<Value>, pattern: &Pattern, at_end: bool, longest: bool, span: Span) -> Value {
        let own = own.unwrap_or_default();
        let (Some(text), Some(mut pieces)) = (own.known(), self.pattern(pattern)) else { return self.unknown(span) };
        let mut chars: Vec<char> = text.chars().collect();
        if chars.len() > LONGEST || pieces.len() > LONGEST {
            return self.unknown(span);
        }
        if at_end {
            chars.reverse();
            pieces.reverse();
        }
        let lengths = pattern::lengths(&pieces, &chars);
        let length = if longest { lengths.last() } else { lengths.first() }.copied().unwrap_or(0);
        let mut left: Vec<char> = chars.split_off(length);
        if at_end {
            left.reverse();
        }
        Value::text(left.into_iter().collect::<String>())
    }

    /// A pattern of a `case` or of an operator; nothing if it is of a kind that is not followed.
    pub(super) fn pattern(&mut self, pattern: &Pattern) -> Option<Vec<Piece>> {
        let source = self.source();
        let mut pieces = Vec::new();
        for part in &pattern.parts {
            match &part.kind {
                PatternPart::AnyString => pieces.push(Piece::AnyString),
                PatternPart::AnyChar => pieces.push(Piece::AnyChar),
                PatternPart::Literal(text) => {
                    pieces.extend(unescaped(text.as_str(&source, part.span)).chars().map(Piece::Char));
                }
                PatternPart::CharClass(text) => {
                    let text = text.slice(&source);
                    pieces.push(pattern::class(text.strip_prefix('[').unwrap_or(text))?.0);
                }
                PatternPart::Word(word) => {
                    let is_quoted = word
                        .parts
                        .iter()
                        .all(|part| matches!(part.kind, WordPart::DoubleQuoted { .. } | WordPart::SingleQuoted { .. }));
                    let value = self.word(word);
                    let text = value.known()?;
                    if is_quoted {
                        pieces.extend(text.chars().map(Piece::Char));
                    } else {
                        pieces.extend(pattern::read(text));
                    }
                }
                PatternPart::Group { .. } => return None,
            }
        }
        Some(pieces)
    }

    /// The files that a word with `*`, `?` or `[` stands for; itself where there are none.
    fn files(&mut self, word: &Word) -> Option<Vec<Value>> {
        let source = self.source();
        let mut text = String::new();
        for (number, part) in word.parts.iter().enumerate() {
            match &part.kind {
                WordPart::Literal(literal) => {
                    let raw = literal.as_str(&source, part.span);
                    match raw.strip_prefix('~').filter(|rest| number == 0 && rest.starts_with('/')) {
                        Some(rest) => {
                            text.push_str(self.variable("HOME").known()?);
                            text.push_str(rest);
                        }
                        None => text.push_str(raw),
                    }
                }
                _ => {
                    let value = self.parts(std::slice::from_ref(part), false);
                    for c in value.known()?.chars() {
                        if matches!(c, '*' | '?' | '[' | '\\') {
                            text.push('\\');
                        }
                        text.push(c);
                    }
                }
            }
        }
        if !text.starts_with('/') || text.len() > LONGEST {
            return None;
        }
        let mut found = vec![String::new()];
        for component in text.split('/').filter(|component| !component.is_empty()) {
            let pieces = pattern::read(component);
            let is_plain = pieces.iter().all(|piece| matches!(piece, Piece::Char(_)));
            let mut next = Vec::new();
            for folder in &found {
                if is_plain {
                    next.push(join(folder, &unescaped(component)));
                    continue;
                }
                let names = self.world.rootfs.names(folder);
                let fits = |name: &&String| {
                    (!name.starts_with('.') || component.starts_with('.')) && pattern::matches(&pieces, name)
                };
                next.extend(names.iter().filter(fits).take(MOST_NAMES).map(|name| join(folder, name)));
            }
            next.truncate(MOST_NAMES);
            found = next;
        }
        found.retain(|path| self.world.rootfs.find(path).is_ok() || self.world.rootfs.is_link(path));
        if found.is_empty() {
            return Some(vec![Value::text(text)]);
        }
        Some(found.iter().map(|path| Value::text(absolute(path))).collect())
    }

    /// What a command substitution prints, for the few commands that start-up files ask.
    fn output(&mut self, body: &StmtSeq, span: Span) -> Value {
        let shown = span.slice(&self.source()).to_owned();
        let unknown = || Value::unknown(format!("what {shown} prints"));
        let [statement] = body.as_slice() else { return unknown() };
        let Command::Simple(command) = &statement.command else { return unknown() };
        let mut words = vec![self.word(&command.name)];
        for argument in &command.args {
            words.push(self.word(argument));
        }
        let words: Option<Vec<&str>> = words.iter().map(Value::known).collect();
        let Some(words) = words else { return unknown() };
        let words: Vec<&str> = words.into_iter().filter(|word| *word != "--").collect();
        let name = words.first().map_or("", |name| parent_and_name(name).1);
        let text = match (name, words.get(1..).unwrap_or_default()) {
            ("id", ["-u" | "-ur" | "-ru"]) => Some(self.world.account.uid.to_string()),
            ("id", ["-un" | "-nu"]) | ("whoami" | "logname", []) => self.world.user.map(str::to_owned),
            ("id", ["-g" | "-gr" | "-rg"]) => self.world.account.gid.map(|gid| gid.to_string()),
            ("dirname", [path]) if path.contains('/') => {
                let parent = path.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
                Some(if parent.is_empty() { "/".to_owned() } else { parent.to_owned() })
            }
            ("basename", [path]) => Some(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()),
            ("echo", words) if words.first().is_none_or(|word| !word.starts_with('-')) => Some(words.join(" ")),
            ("printf", ["%s" | "%s\\n", text]) => Some((*text).to_owned()),
            ("cat", [path]) => match self.world.content(path) {
                super::Content::Text(text) if text.len() < LONGEST => Some(text.trim_end_matches('\n').to_owned()),
                _ => None,
            },
            _ => None,
        };
        text.map_or_else(unknown, Value::text)
    }
}

/// Text without the backslashes that quote its characters.
pub(super) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                // A line that goes on.
                Some('\n') | None => {}
                Some(next) => out.push(next),
            },
            c => out.push(c),
        }
    }
    out
}
