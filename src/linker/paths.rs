//! Search paths as they are written: folders between separators, with the loader's own variables in them.

/// What the variables stand for (ld.so(8), "Dynamic string tokens").
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// `$LIB`: the library folder of the architecture, such as `lib/x86_64-linux-gnu`.
    pub lib: String,
    /// `$PLATFORM`: the names that the processor may go by, the likeliest first.
    pub platforms: Vec<String>,
}

/// The most folders of one search path that count: more than any real program has.
const MOST_FOLDERS: usize = 64;

/// Splits a search path into folders, the variables filled in. `origin` is the folder of the object that has the path.
/// Relative and empty folders are left out: they are below the work folder, which is not the image's.
pub fn folders(path: &str, separators: &[char], origin: &str, tokens: &Tokens) -> Vec<String> {
    let mut folders = Vec::new();
    for part in path.split(separators) {
        for folder in filled(part, origin, tokens) {
            if folder.starts_with('/') && !folders.contains(&folder) {
                folders.push(folder);
            }
            if folders.len() == MOST_FOLDERS {
                return folders;
            }
        }
    }
    folders
}

/// A path with its variables filled in: one for each platform name if it has `$PLATFORM`.
pub fn filled(path: &str, origin: &str, tokens: &Tokens) -> Vec<String> {
    if !path.contains('$') {
        return vec![path.to_owned()];
    }
    let replace = |text: &str, name: &str, value: &str| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    };
    let path = replace(&replace(path, "ORIGIN", origin), "LIB", &tokens.lib);
    if !path.contains("$PLATFORM") && !path.contains("${PLATFORM}") {
        return vec![path];
    }
    tokens.platforms.iter().map(|platform| replace(&path, "PLATFORM", platform)).collect()
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

    #[test]
    fn variables_are_filled_in_and_relative_folders_left_out() {
        let tokens = Tokens { lib: "lib64".to_owned(), platforms: vec!["haswell".to_owned(), "x86_64".to_owned()] };
        let split = |path| folders(path, &[':'], "/app/bin", &tokens);
        assert_eq!(split("$ORIGIN/../lib:/usr/${LIB}::x:/a"), ["/app/bin/../lib", "/usr/lib64", "/a"]);
        assert_eq!(split("/p/$PLATFORM"), ["/p/haswell", "/p/x86_64"]);
        assert_eq!(folders("/a;/b:/a", &[':', ';'], "/", &tokens), ["/a", "/b"]);
    }

    #[test]
    fn the_folder_of_a_file() {
        assert_eq!([parent("/a/b"), parent("/a"), parent("a")], ["/a", "/", ""]);
    }
}
