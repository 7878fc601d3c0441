//! Words become values: quotes, tildes, variables and their operators, command substitutions, and names of files.

use shuck_ast::{
    BourneParameterExpansion, Command, ParameterExpansionSyntax, ParameterOp, Pattern, PatternPart, Span, StmtSeq,
    VarRef, Word, WordPart, WordPartNode,
};

use super::Line;
use super::evaluate::Shell;
use super::pattern::{self, LONGEST, Piece};
use super::value::Value;
use crate::layer::Kind;
use crate::layer::path::{absolute, join, parent_and_name};

/// The most files that one pattern stands for.
const MOST_NAMES: usize = 200;

impl Shell<'_, '_> {
    /// The value of a word that is not split into several.
    pub(super) fn word(&mut self, word: &Word) -> Value {
        self.parts(&word.parts, false)
    }

    /// The file that the value of `BASH_ENV` names: its variables and commands are expanded, and a tilde at its start.
    pub(super) fn named(&mut self, value: &str) -> Option<String> {
        let mut text = value.to_owned();
        if value.contains(['$', '`', '\\']) {
            let name = "imglint_bash_env";
            self.run_text(&format!("{name}=\"{}\"", value.replace('"', "\\\"")), Line::default());
            text = self.variable(name).known()?.to_owned();
            self.state.variables.remove(name);
        }
        match text.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Some(format!("{}{rest}", self.world.home)),
            Some(_) => None,
            None => Some(text),
        }
    }

    /// All words that words become; `None` if they are not known.
    pub(super) fn all_words(&mut self, words: &[Word]) -> Option<Vec<Value>> {
        let mut all = Some(Vec::new());
        for word in words {
            match (self.words(word), &mut all) {
                (Some(more), Some(all)) => all.extend(more),
                _ => all = None,
            }
        }
        all
    }

    /// The words that one word becomes; nothing if it cannot be told which they are.
    pub(super) fn words(&mut self, word: &Word) -> Option<Vec<Value>> {
        let source = self.source();
        let is_all = |parts: &[WordPartNode]| match parts {
            [WordPartNode { kind: WordPart::Variable(name), .. }] => name.as_str() == "@",
            _ => false,
        };
        match word.parts.as_slice() {
            [WordPartNode { kind: WordPart::DoubleQuoted { parts, .. }, .. }] if is_all(parts) => {
                return self.arguments.clone();
            }
            parts
                if word.has_active_brace_expansion()
                    && parts.iter().all(|part| matches!(part.kind, WordPart::Literal(_))) =>
            {
                let words = braces(word.span.slice(&source))?;
                return (!words.iter().any(|word| word.contains(['*', '?', '['])))
                    .then(|| words.iter().map(|word| self.literal(word, true, false)).collect());
            }
            _ if word.has_active_brace_expansion() => return None,
            _ => {}
        }
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
        let ifs = self.state.variables.get("IFS").map(|ifs| ifs.known().map(str::to_owned));
        match ifs.as_ref().map(Option::as_deref) {
            None => Some(text.split_whitespace().map(Value::text).collect()),
            Some(Some(":")) => Some(text.split_terminator(':').map(Value::text).collect()),
            Some(Some(ifs)) if ifs.chars().all(char::is_whitespace) && !ifs.is_empty() => {
                Some(text.split(|c: char| ifs.contains(c)).filter(|word| !word.is_empty()).map(Value::text).collect())
            }
            Some(Some("")) => Some(vec![Value::text(text)]),
            Some(_) => None,
        }
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
        let rootfs = self.world.rootfs;
        let end = if text.ends_with('/') { "/" } else { "" };
        let is_folder = |path: &str| rootfs.find(path).is_ok_and(|node| node.kind == Kind::Directory);
        found.retain(
            |path| {
                if end.is_empty() { rootfs.find(path).is_ok() || rootfs.is_link(path) } else { is_folder(path) }
            },
        );
        if found.is_empty() {
            let is_left_out = self.options.contains("nullglob");
            return Some(if is_left_out { Vec::new() } else { vec![Value::text(text)] });
        }
        Some(found.iter().map(|path| Value::text(format!("{}{end}", absolute(path)))).collect())
    }

    fn is_glibc(&self) -> bool {
        self.state.variables.get("OSTYPE").and_then(Value::known) == Some("linux-gnu")
    }

    /// What a command substitution prints, for the few commands that start-up files ask.
    fn output(&mut self, body: &StmtSeq, span: Span) -> Value {
        let shown = span.slice(&self.source()).to_owned();
        let unknown = || Value::unknown(format!("what {shown} prints"));
        // Nested ones are quoted once more.
        if shown.contains("\\`") {
            return unknown();
        }
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
            ("uname", [] | ["-s" | "--kernel-name"]) => Some("Linux".to_owned()),
            ("uname", ["-o" | "--operating-system"]) if self.is_glibc() => Some("GNU/Linux".to_owned()),
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

/// What braces stand for: lists, and ranges of numbers and letters (bash(1), Brace Expansion); `None` for what is not
/// followed.
fn braces(text: &str) -> Option<Vec<String>> {
    const MOST: usize = 500;
    if text.contains(['\\', '$', '`']) {
        return None;
    }
    let Some(start) = text.find('{') else { return Some(vec![text.to_owned()]) };
    let mut depth = 0_usize;
    let mut commas = Vec::new();
    let mut end = None;
    for (at, c) in text[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    end = Some(start + at);
                    break;
                }
            }
            ',' if depth == 1 => commas.push(start + at),
            _ => {}
        }
    }
    let end = end?;
    let inner = &text[start + 1..end];
    let items: Vec<String> = if commas.is_empty() {
        range(inner)?
    } else {
        let mut starts = vec![start];
        starts.extend(&commas);
        let ends = commas.iter().copied().chain([end]);
        starts.iter().zip(ends).map(|(from, to)| text[from + 1..to].to_owned()).collect()
    };
    let mut words = Vec::new();
    for item in items {
        for inner in braces(&item)? {
            for rest in braces(&text[end + 1..])? {
                words.push(format!("{}{inner}{rest}", &text[..start]));
            }
        }
        if words.len() > MOST {
            return None;
        }
    }
    Some(words)
}

/// `1..3`, `a..c`.
fn range(text: &str) -> Option<Vec<String>> {
    let (from, to) = text.split_once("..")?;
    if let (Ok(from), Ok(to)) = (from.parse::<i32>(), to.parse::<i32>()) {
        let is_padded = |text: &str| text.trim_start_matches('-').starts_with('0') && text.len() > 1;
        if from.abs_diff(to) > 500 || text.split("..").any(is_padded) {
            return None;
        }
        let numbers: Vec<i32> = if from <= to { (from..=to).collect() } else { (to..=from).rev().collect() };
        return Some(numbers.iter().map(ToString::to_string).collect());
    }
    let letter = |text: &str| {
        let mut chars = text.chars();
        chars.next().filter(|c| c.is_ascii_alphabetic() && chars.next().is_none())
    };
    let (from, to) = (letter(from)?, letter(to)?);
    let letters: Vec<char> = if from <= to { (from..=to).collect() } else { (to..=from).rev().collect() };
    Some(letters.iter().map(ToString::to_string).collect())
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
