//! What shells make of the one argument that the kernel hands them from a script's first line.

/// The shells whose options are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash.
    Bash,
    /// dash, and the ash of busybox, which is built from it.
    Dash,
}

/// What comes of a shell's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The script runs.
    Runs,
    /// It does not: why.
    Refused(String),
    /// That is not known: why.
    Unknown(String),
}

/// The options of dash that stand alone (dash, src/options.c).
const DASH: &str = "aCbefIimnuvVxEl";
/// The options of bash that stand alone (bash, shell.c and builtins/set.def).
const BASH: &str = "abefhikmnlprtuvxBCEHPT";
/// bash's options that are words (bash, shell.c: `long_args`); those with `true` take the next word.
const BASH_WORDS: [(&str, bool); 16] = [
    ("debug", false),
    ("debugger", false),
    ("dump-po-strings", false),
    ("dump-strings", false),
    ("help", false),
    ("init-file", true),
    ("login", false),
    ("noediting", false),
    ("noprofile", false),
    ("norc", false),
    ("posix", false),
    ("pretty-print", false),
    ("rcfile", true),
    ("restricted", false),
    ("verbose", false),
    ("version", false),
];

impl Shell {
    /// What a script with this argument after its interpreter does.
    #[must_use]
    pub fn takes(self, argument: &str) -> Taken {
        let refused =
            |why: &str| Taken::Refused(format!("its first line gives the shell {argument:?} as one argument: {why}"));
        let unknown = || Taken::Unknown(format!("what the shell makes of the argument {argument:?} is not known"));
        let not_run = || Taken::Unknown(format!("with the argument {argument:?} the shell ends without running it"));
        if argument == "-" || argument == "--" {
            return Taken::Runs;
        }
        let Some(letters) = argument.strip_prefix(['-', '+']) else {
            // It is taken for the script.
            return if argument.starts_with('/') { unknown() } else { refused("there is no such script") };
        };
        if self == Self::Bash {
            let word = letters.strip_prefix('-').unwrap_or(letters);
            match BASH_WORDS.iter().find(|(known, _)| *known == word) {
                Some((_, true)) => return unknown(),
                Some(("help" | "version" | "dump-po-strings" | "dump-strings", _)) => return not_run(),
                Some(_) => return Taken::Runs,
                None if letters.starts_with('-') => return refused("invalid option"),
                None => {}
            }
        }
        for letter in letters.chars() {
            let known = if self == Self::Bash { BASH } else { DASH };
            match letter {
                'c' => return refused("the shell runs the script's path as a command, which starts it again for ever"),
                'o' | 'O' => return refused("the option takes the script's path as its value"),
                'D' if self == Self::Bash => return not_run(),
                // With the first the script is only a parameter; the others came to dash late.
                's' => return unknown(),
                'p' | 'q' | 'd' if self == Self::Dash => return unknown(),
                letter if known.contains(letter) => {}
                _ => return refused("invalid option"),
            }
        }
        Taken::Runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As bash 5.2 and dash 0.5.12 do.
    #[test]
    fn arguments_are_taken_as_shells_take_them() {
        for (argument, bash, dash) in [
            ("-e", true, true),
            ("-eu", true, true),
            ("+x", true, true),
            ("-", true, true),
            ("--", true, true),
            ("-l", true, true),
            ("--posix", true, false),
            ("-posix", true, false),
            ("--login", true, false),
            ("-e -u", false, false),
            ("-e -x", false, false),
            ("-e\r", false, false),
            ("-eo pipefail", false, false),
            ("--norc -e", false, false),
            ("--foo", false, false),
            ("-c", false, false),
            ("-o", false, false),
            ("--rcfile", false, false),
            ("x", false, false),
            ("--version", false, false),
        ] {
            assert_eq!(Shell::Bash.takes(argument) == Taken::Runs, bash, "bash {argument:?}");
            assert_eq!(Shell::Dash.takes(argument) == Taken::Runs, dash, "dash {argument:?}");
        }
    }
}
