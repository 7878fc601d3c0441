//! Search paths as they are written: folders between separators, with the loader's own tokens in them.

/// The most folders of one search path that are searched: many times what closures of Nix have.
const MOST_FOLDERS: usize = 4096;

/// What tokens stand for (ld.so(8), "Dynamic string tokens").
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// `$LIB`: the library folder of the architecture, such as `lib/x86_64-linux-gnu`.
    pub lib: String,
    /// `$PLATFORM`: the name of the processor.
    pub platform: String,
    /// In secure-execution mode, the folders below which `$ORIGIN` of the program may lead.
    pub trusted: Option<Vec<String>>,
}

/// The folders of one search path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    /// The absolute ones, without slashes at their ends; `""` is the root.
    pub folders: Vec<String>,
    /// The first element that is relative to the working directory, as written.
    pub relative: Option<String>,
    /// Whether there are more folders than are searched.
    pub is_cut: bool,
    /// Whether `$PLATFORM` is in it.
    pub has_platform: bool,
}

impl SearchPath {
    /// Splits a path as glibc does (elf/dl-load.c, `fillin_rpath`). `origin` is the folder of the object that has it.
    /// An empty element is the working directory, one with a token that stands for nothing is left out.
    pub fn glibc(path: &str, separators: &[char], origin: &str, is_program: bool, tokens: &Tokens) -> Self {
        let mut all = Self { has_platform: path.contains("PLATFORM"), ..Self::default() };
        for part in path.split(separators) {
            match expanded(part, origin, is_program, tokens) {
                None => {}
                Some(folder) if folder.is_empty() && !part.is_empty() => {}
                Some(folder) => all.add(folder.trim_end_matches('/'), &folder),
            }
        }
        all
    }

    /// Splits a path as musl does (ldso/dynlink.c, `path_open`): empty elements are passed over.
    pub fn musl(path: &str) -> Self {
        let mut all = Self::default();
        for part in path.split([':', '\n']).filter(|part| !part.is_empty()) {
            all.add(part.trim_end_matches('/'), part);
        }
        all
    }

    fn add(&mut self, folder: &str, written: &str) {
        if !written.starts_with('/') {
            self.relative.get_or_insert_with(|| written.to_owned());
        } else if self.folders.len() >= MOST_FOLDERS {
            self.is_cut = true;
        } else if self.folders.len() > 64 || !self.folders.iter().any(|known| known == folder) {
            // Searching a folder twice changes nothing, so long lists need not be compared.
            self.folders.push(folder.to_owned());
        }
    }
}

/// A text with its tokens filled in as glibc does (elf/dl-load.c, `_dl_dst_substitute`); nothing if one stands for nothing.
/// `is_program` is true for what the program itself says, which in secure-execution mode may lead to few folders only.
pub fn expanded(text: &str, origin: &str, is_program: bool, tokens: &Tokens) -> Option<String> {
    let (mut result, mut rest, mut checks_trust) = (String::new(), text, false);
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(length) = token(after, "ORIGIN") {
            let behind = &after[length..];
            let is_alone = at == 0 && rest.len() == text.len() && (behind.is_empty() || behind.starts_with('/'));
            if origin.is_empty() || (tokens.trusted.is_some() && !is_alone) {
                return None;
            }
            checks_trust = tokens.trusted.is_some() && is_program;
            result.push_str(origin);
            rest = behind;
        } else if let Some(length) = token(after, "PLATFORM") {
            result.push_str(&tokens.platform);
            rest = &after[length..];
        } else if let Some(length) = token(after, "LIB") {
            result.push_str(&tokens.lib);
            rest = &after[length..];
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    let is_trusted = |folders: &Vec<String>| {
        let normal = crate::layer::path::normalise(result.as_bytes());
        folders.iter().any(|folder| {
            let rest = normal.strip_prefix(folder.trim_start_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    (!checks_trust || tokens.trusted.as_ref().is_none_or(is_trusted)).then_some(result)
}

/// How long the token `name` at the start of `text` is, behind its `$`: the whole name, in braces or not (elf/dl-load.c,
/// `is_dst`).
fn token(text: &str, name: &str) -> Option<usize> {
    let inside = text.strip_prefix('{');
    let rest = inside.unwrap_or(text).strip_prefix(name)?;
    match inside {
        Some(_) => rest.starts_with('}').then_some(name.len() + 2),
        None => {
            let goes_on = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            (!goes_on).then_some(name.len())
        }
    }
}

/// The search path of an object as musl reads it (ldso/dynlink.c, `fixup_rpath`); nothing where one of its tokens is not
/// `$ORIGIN`, or has no meaning because there is no `origin`: then none of it counts.
pub fn musl_expanded(path: &str, origin: Option<&str>) -> Option<String> {
    let (mut result, mut rest) = (String::new(), path);
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = after.strip_prefix("ORIGIN").or_else(|| after.strip_prefix("{ORIGIN}"))?;
        result.push_str(origin?);
    }
    result.push_str(rest);
    Some(result)
}

/// The folder of a path: what `$ORIGIN` stands for in the object at `path`.
pub fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens { lib: "lib64".to_owned(), platform: "haswell".to_owned(), trusted: None }
    }

    fn glibc(path: &str) -> SearchPath {
        SearchPath::glibc(path, &[':'], "/app/bin", true, &tokens())
    }

    #[test]
    fn tokens_are_filled_in_and_relative_folders_are_noted() {
        let path = glibc("$ORIGIN/../lib:/usr/${LIB}/:x:/a:/a");
        assert_eq!(path.folders, ["/app/bin/../lib", "/usr/lib64", "/a"]);
        assert_eq!(path.relative.as_deref(), Some("x"));
        assert_eq!(glibc("/a:").relative.as_deref(), Some(""), "an empty element is the working directory");
        assert_eq!(glibc("/p/$PLATFORM").folders, ["/p/haswell"]);
        assert_eq!(SearchPath::glibc("/a;/b", &[':', ';'], "/", true, &tokens()).folders, ["/a", "/b"]);
    }

    #[test]
    fn tokens_are_whole_names() {
        for (path, folder) in [
            ("/$LIBS", "/$LIBS"),
            ("/$LIB_1", "/$LIB_1"),
            ("/$LIB-1", "/lib64-1"),
            ("/${LIB}S", "/lib64S"),
            ("/${LIBS}", "/${LIBS}"),
            ("/$ORIGINAL", "/$ORIGINAL"),
            ("/$$LIB", "/$lib64"),
            ("/a$", "/a$"),
        ] {
            assert_eq!(glibc(path).folders, [folder], "{path}");
        }
    }

    #[test]
    fn many_folders_are_searched_and_endless_ones_are_cut() {
        let path = |count: usize| glibc(&(0..count).map(|at| format!("/n/{at}")).collect::<Vec<_>>().join(":"));
        assert_eq!((path(300).folders.len(), path(300).is_cut), (300, false));
        assert!(path(5000).is_cut);
    }

    #[test]
    fn secure_programs_are_led_to_trusted_folders_only() {
        let tokens = Tokens { trusted: Some(vec!["/usr/lib64".to_owned()]), ..tokens() };
        let program = |path, origin| expanded(path, origin, true, &tokens);
        assert_eq!(program("$ORIGIN/../lib64/x", "/usr/bin").as_deref(), Some("/usr/bin/../lib64/x"));
        assert_eq!(program("$ORIGIN/lib", "/opt/app"), None);
        assert_eq!(program("/a/$ORIGIN", "/usr/lib64"), None);
        assert_eq!(program("/opt/$LIB", "/opt/app").as_deref(), Some("/opt/lib64"));
        assert_eq!(expanded("$ORIGIN/x", "/opt/lib", false, &tokens).as_deref(), Some("/opt/lib/x"));
    }

    #[test]
    fn musl_knows_one_token_and_drops_a_path_with_others() {
        let musl = |path| musl_expanded(path, Some("/app"));
        assert_eq!(musl("/a:$ORIGIN/lib:${ORIGIN}/x").as_deref(), Some("/a:/app/lib:/app/x"));
        assert_eq!(musl("$ORIGINAL").as_deref(), Some("/appAL"));
        assert_eq!([musl("/a:/x/$LIB"), musl("/a/$"), musl_expanded("$ORIGIN", None)], [None, None, None]);
        assert_eq!(musl_expanded("/a:/b", None).as_deref(), Some("/a:/b"));
        let path = SearchPath::musl("/a:\n:b/:/c//");
        assert_eq!((path.folders, path.relative), (vec!["/a".to_owned(), "/c".to_owned()], Some("b/".to_owned())));
    }

    #[test]
    fn the_folder_of_a_file() {
        assert_eq!([parent("/a/b"), parent("/a"), parent("a")], ["/a", "/", ""]);
    }
}
