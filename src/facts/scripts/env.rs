//! env(1) as the interpreter of a script: which program it starts, in which environment, or how it ends without one.

use std::collections::BTreeMap;

/// The most words that one line is split into.
const MOST_WORDS: usize = 100;
/// The options of GNU's env that take a value, must have one after `=`, or have none (coreutils, src/env.c).
const LONG: [(&str, Value); 12] = [
    ("argv0", Value::Needed),
    ("block-signal", Value::Allowed),
    ("chdir", Value::Needed),
    ("debug", Value::None),
    ("default-signal", Value::Allowed),
    ("help", Value::None),
    ("ignore-environment", Value::None),
    ("ignore-signal", Value::Allowed),
    ("list-signal-handling", Value::None),
    ("null", Value::None),
    ("split-string", Value::Needed),
    ("unset", Value::Needed),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Allowed,
    Needed,
}

/// Whose env it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// That of GNU's coreutils, and others that follow it.
    Gnu,
    /// An applet of busybox.
    Busybox,
}

/// What env does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// It starts a program with these arguments.
    Starts {
        /// The program's name, or its path where that has a slash.
        program: String,
        /// What it is given, the script last.
        arguments: Vec<String>,
        /// What changes of `PATH`; the inner `None` takes it away.
        path: Option<Option<String>>,
        /// The folder that it goes to first.
        folder: Option<String>,
    },
    /// It starts the script again, and so on for ever.
    Loops,
    /// It ends before it starts anything: why.
    Ends(String),
    /// It ends well without starting anything: why.
    StartsNothing(String),
}

/// Follows env that is started with the words of a script's first line, and the script's path.
#[must_use]
pub fn follow(whose: Whose, argument: Option<&str>, script: &str, environment: &BTreeMap<String, String>) -> Call {
    let words = argument.into_iter().map(str::to_owned).chain([script.to_owned()]).collect();
    let mut env = Env { whose, words, at: 0, path: None, folder: None, is_null: false, environment };
    match env.run() {
        Ok((program, _)) if program == script => Call::Loops,
        Ok((program, arguments)) => Call::Starts { program, arguments, path: env.path, folder: env.folder },
        Err(why) if why.starts_with("prints") => Call::StartsNothing(why),
        Err(why) => Call::Ends(why),
    }
}

struct Env<'a> {
    whose: Whose,
    words: Vec<String>,
    at: usize,
    path: Option<Option<String>>,
    folder: Option<String>,
    is_null: bool,
    environment: &'a BTreeMap<String, String>,
}

impl Env<'_> {
    fn run(&mut self) -> Result<(String, Vec<String>), String> {
        while let Some(word) = self.words.get(self.at).cloned() {
            if word == "--" {
                self.at += 1;
                break;
            }
            if word == "-" || !word.starts_with('-') {
                break;
            }
            self.at += 1;
            match word.strip_prefix("--") {
                Some(long) => self.long(long)?,
                None => self.short(&word[1..])?,
            }
        }
        if self.words.get(self.at).is_some_and(|word| word == "-") {
            self.at += 1;
            self.path = Some(None);
        }
        while let Some((name, value)) = self.words.get(self.at).and_then(|word| word.split_once('=')) {
            if name == "PATH" {
                self.path = Some(Some(value.to_owned()));
            }
            self.at += 1;
        }
        let rest = self.words.get(self.at..).unwrap_or_default();
        let Some((program, arguments)) = rest.split_first() else {
            return Err("prints the environment, because no program is left for it to start".to_owned());
        };
        if self.is_null {
            return Err("ends with \"cannot specify --null (-0) with command\"".to_owned());
        }
        Ok((program.clone(), arguments.to_vec()))
    }

    fn short(&mut self, letters: &str) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            match (letter, self.whose) {
                ('i', _) => self.path = Some(None),
                ('0', _) => self.is_null = true,
                ('v', Whose::Gnu) => {}
                ('u', _) => {
                    let name = self.value(rest, "u")?;
                    self.unset(&name);
                    return Ok(());
                }
                ('C', Whose::Gnu) => {
                    self.folder = Some(self.value(rest, "C")?);
                    return Ok(());
                }
                ('S', Whose::Gnu) => {
                    let text = self.value(rest, "S")?;
                    return self.split(&text);
                }
                ('a', Whose::Gnu) => {
                    self.value(rest, "a")?;
                    return Ok(());
                }
                (letter, _) => return Err(format!("ends with \"invalid option -- '{}'\"", letter.escape_debug())),
            }
        }
        Ok(())
    }

    fn long(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let fitting: Vec<&(&str, Value)> = LONG.iter().filter(|(known, _)| known.starts_with(name)).collect();
        let found = match fitting.as_slice() {
            _ if name.is_empty() => None,
            [one] => Some(**one),
            several => several.iter().find(|(known, _)| *known == name).map(|one| **one),
        };
        let is_known = |name: &str| match self.whose {
            Whose::Gnu => true,
            Whose::Busybox => matches!(name, "ignore-environment" | "null" | "unset"),
        };
        let Some((name, kind)) = found.filter(|(name, _)| is_known(name)) else {
            return Err(format!("ends with \"unrecognized option '--{}'\"", option.escape_debug()));
        };
        if kind == Value::None && value.is_some() {
            return Err(format!("ends with \"option '--{name}' doesn't allow an argument\""));
        }
        let mut needed = || match value {
            Some(value) => Ok(value.to_owned()),
            None => self.value("", name),
        };
        match name {
            "ignore-environment" => self.path = Some(None),
            "null" => self.is_null = true,
            "unset" => {
                let name = needed()?;
                self.unset(&name);
            }
            "chdir" => self.folder = Some(needed()?),
            "argv0" => drop(needed()?),
            "split-string" => {
                let text = needed()?;
                self.split(&text)?;
            }
            "help" => return Err("prints how it is used".to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn unset(&mut self, name: &str) {
        if name == "PATH" {
            self.path = Some(None);
        }
    }

    /// The value of an option: the rest of the word, else the next word.
    fn value(&mut self, rest: &str, option: &str) -> Result<String, String> {
        if !rest.is_empty() {
            return Ok(rest.to_owned());
        }
        let next = self.words.get(self.at).cloned();
        self.at += 1;
        next.ok_or_else(|| format!("ends with \"option requires an argument -- '{option}'\""))
    }

    /// Puts the words of a text in the place of those that are done.
    fn split(&mut self, text: &str) -> Result<(), String> {
        let mut words = split(text, |name| self.environment.get(name).cloned())?;
        words.extend(self.words.drain(..).skip(self.at));
        self.words = words;
        self.at = 0;
        if self.words.len() > MOST_WORDS { Err("has too many words to follow".to_owned()) } else { Ok(()) }
    }
}

/// The words of `-S` (coreutils, src/env.c: `build_argv`).
fn split(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    let (mut is_single, mut is_double, mut is_new) = (false, false, true);
    let push = |words: &mut Vec<String>, is_new: &mut bool, text: &str| {
        if std::mem::take(is_new) {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut() {
            last.push_str(text);
        }
    };
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\'' if !is_double => {
                is_single = !is_single;
                push(&mut words, &mut is_new, "");
            }
            '"' if !is_single => {
                is_double = !is_double;
                push(&mut words, &mut is_new, "");
            }
            ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r' if !is_single && !is_double => is_new = true,
            '#' if is_new => break,
            '\\' if !is_single || after.starts_with(['\\', '\'']) => {
                let Some(next) = after.chars().next() else {
                    return Err("ends with \"invalid backslash at end of string in -S\"".to_owned());
                };
                rest = &after[next.len_utf8()..];
                let meant = match next {
                    '"' | '#' | '$' | '\'' | '\\' => next,
                    '_' if is_double => ' ',
                    '_' => {
                        is_new = true;
                        continue;
                    }
                    'c' if is_double => {
                        return Err("ends with \"'\\c' must not appear in double-quoted -S string\"".to_owned());
                    }
                    'c' => break,
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    other => return Err(format!("ends with \"invalid sequence '\\{}' in -S\"", other.escape_debug())),
                };
                push(&mut words, &mut is_new, meant.encode_utf8(&mut [0; 4]));
                continue;
            }
            '$' if !is_single => {
                let name = after.strip_prefix('{').and_then(|text| text.split_once('}'));
                let is_name = |name: &str| {
                    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                };
                let Some((name, left)) = name.filter(|(name, _)| is_name(name)) else {
                    return Err("ends with \"only ${VARNAME} expansion is supported\"".to_owned());
                };
                if let Some(value) = variable(name) {
                    push(&mut words, &mut is_new, &value);
                }
                rest = left;
                continue;
            }
            c => push(&mut words, &mut is_new, c.encode_utf8(&mut [0; 4])),
        }
        rest = after;
    }
    if is_single || is_double { Err("ends with \"no terminating quote in -S string\"".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(whose: Whose, argument: Option<&str>) -> String {
        let environment = BTreeMap::from([("SH".to_owned(), "bash".to_owned())]);
        match follow(whose, argument, "/x/script", &environment) {
            Call::Starts { program, arguments, path, folder } => {
                let path = path.map(|path| format!(" PATH={}", path.unwrap_or_else(|| "-".to_owned())));
                let folder = folder.map(|folder| format!(" in {folder}"));
                format!("{program:?} {}{}{}", arguments.join("|"), path.unwrap_or_default(), folder.unwrap_or_default())
            }
            Call::Loops => "loops".to_owned(),
            Call::Ends(why) | Call::StartsNothing(why) => why,
        }
    }

    /// As coreutils 9.1 and busybox 1.35 do.
    #[test]
    fn words_are_followed_as_env_follows_them() {
        for (argument, expected) in [
            ("bash", "\"bash\" /x/script"),
            ("bash\r", "\"bash\\r\" /x/script"),
            ("bash -e", "\"bash -e\" /x/script"),
            ("-e bash", "ends with \"invalid option -- 'e'\""),
            ("-S bash -e", "\"bash\" -e|/x/script"),
            ("-Sbash -e", "\"bash\" -e|/x/script"),
            ("-vS bash -e\r", "\"bash\" -e|/x/script"),
            ("-iS bash", "\"bash\" /x/script PATH=-"),
            ("--split-string=bash -e", "\"bash\" -e|/x/script"),
            ("--sp bash", "ends with \"unrecognized option '--sp bash'\""),
            ("-S -u FOO bash", "\"bash\" /x/script"),
            ("-S -u PATH bash", "\"bash\" /x/script PATH=-"),
            ("-S -u bash no-such-thing", "\"no-such-thing\" /x/script"),
            ("-S -C /srv bash", "\"bash\" /x/script in /srv"),
            ("-S PATH=/nowhere bash", "\"bash\" /x/script PATH=/nowhere"),
            ("-S A=1 B=2 bash -x", "\"bash\" -x|/x/script"),
            ("-S \"bash\" '-e'", "\"bash\" -e|/x/script"),
            ("-S ba'sh' # -e", "\"bash\" /x/script"),
            ("-S bash\\_-e", "\"bash\" -e|/x/script"),
            ("-S ${SH} ${NONE} -e", "\"bash\" -e|/x/script"),
            ("-S $SH", "ends with \"only ${VARNAME} expansion is supported\""),
            ("-S 'bash", "ends with \"no terminating quote in -S string\""),
            ("-S bash\\q", "ends with \"invalid sequence '\\q' in -S\""),
            ("-S bash \\c -e", "\"bash\" /x/script"),
            ("./bash", "\"./bash\" /x/script"),
            ("FOO=bar", "loops"),
            ("FOO=bar bash", "loops"),
            ("-i", "loops"),
            ("-", "loops"),
            ("-v", "loops"),
            ("-S", "loops"),
            ("-u", "prints the environment, because no program is left for it to start"),
            ("-0", "ends with \"cannot specify --null (-0) with command\""),
            ("-S -i PATH=/opt bash", "\"bash\" /x/script PATH=/opt"),
        ] {
            assert_eq!(shown(Whose::Gnu, Some(argument)), expected, "{argument:?}");
        }
        assert_eq!(shown(Whose::Gnu, None), "loops");
        assert_eq!(shown(Whose::Busybox, Some("bash")), "\"bash\" /x/script");
        assert_eq!(shown(Whose::Busybox, Some("-S bash -e")), "ends with \"invalid option -- 'S'\"");
        assert_eq!(shown(Whose::Busybox, Some("-i")), "loops");
    }
}
