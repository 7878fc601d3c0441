//! Whether Windows starts a file: by the ending of its name and the head of its content.
//!
//! Windows opens a program by its name and then looks at its headers (PE format). A file that is there and is something
//! else ends with "%1 is not a valid Win32 application".

use super::drive::{Drive, Look};
use crate::layer::{Kind, PeForm, PeSummary};
use crate::rootfs::windows::{Sought, WindowsNode, fold};
use crate::tables::windows::WindowsKind;

/// The interpreter of `.cmd` and `.bat` files.
pub(super) const CMD: &str = r"C:\Windows\System32\cmd.exe";
/// What Windows on a 64-bit processor runs 32-bit programs with. Nano Server has it as an optional feature only.
const WOW64: &str = r"C:\Windows\SysWOW64\ntdll.dll";
/// The subsystems of programs that are started by their names: windows and consoles (PE format, "Windows Subsystem").
const SUBSYSTEMS: [u16; 2] = [2, 3];

/// Whether a file is what it has to be, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is; a sentence that says what it is.
    Good(String),
    /// It is not; a sentence that says what it is instead.
    Bad(String),
    /// It is not known, and why.
    Open(String),
}

impl Drive<'_> {
    /// Whether Windows starts a file that was found by `name`, of which the ending counts.
    pub(super) fn program(&self, node: &WindowsNode<'_>, name: &str) -> Judged {
        let name = fold(name);
        if name.ends_with(".cmd") || name.ends_with(".bat") {
            return self.script(node);
        }
        let path = &node.path;
        let pe = match self.image(node) {
            Ok(pe) => pe,
            Err(verdict) => return verdict,
        };
        if pe.is_library {
            return Judged::Bad(format!("{path} is a library, not a program"));
        }
        if !pe.is_executable {
            return Judged::Bad(format!("{path} is an image that was not linked into a program"));
        }
        if !SUBSYSTEMS.contains(&pe.subsystem) {
            return Judged::Bad(format!(
                "{path} is for the subsystem {}, not a program that is started by its name",
                pe.subsystem
            ));
        }
        self.runs_machine(path, pe)
    }

    /// Whether a file is a library that the image's own programs can load.
    pub(super) fn library(&self, node: &WindowsNode<'_>) -> Judged {
        let path = &node.path;
        match self.image(node) {
            Err(verdict) => verdict,
            Ok(pe) if self.architecture.is_empty() || pe.architecture.as_deref() == Some(self.architecture) => {
                Judged::Good(format!("{path} is a library{}", for_machine(pe)))
            }
            Ok(pe) => Judged::Bad(format!("{path} is a library{}, not for {}", for_machine(pe), self.architecture)),
        }
    }

    /// The headers of a PE image; or what the file is instead.
    fn image<'a>(&self, node: &WindowsNode<'a>) -> Result<&'a PeSummary, Judged> {
        let path = &node.path;
        match self.form(node)? {
            PeForm::Image => {}
            PeForm::Far => return Err(Judged::Open(format!("the header of {path} lies too far behind its start"))),
            form => return Err(Judged::Bad(format!("{path} {}", instead(form)))),
        }
        // Known, as its form is.
        node.detail.and_then(|detail| detail.pe.as_ref()).ok_or_else(|| unread(path))
    }

    /// What a file is by its first bytes.
    fn form(&self, node: &WindowsNode<'_>) -> Result<PeForm, Judged> {
        let path = &node.path;
        if node.kind != Kind::File {
            return Err(Judged::Bad(format!("{path} is not a file")));
        }
        match (node.detail, node.bytes) {
            (_, Some(0)) => Ok(PeForm::Empty),
            (Some(detail), _) if detail.left_out => Err(unread(path)),
            (Some(detail), _) => detail.pe.as_ref().map(|pe| pe.form).ok_or_else(|| unread(path)),
            (None, None) if self.files.is_whole() => {
                Err(Judged::Bad(format!("{path} is another name of a file that no layer has")))
            }
            (None, _) => Err(unread(path)),
        }
    }

    fn script(&self, node: &WindowsNode<'_>) -> Judged {
        let path = &node.path;
        match self.form(node) {
            Ok(PeForm::Text | PeForm::Script) => {}
            Ok(form) => return Judged::Bad(format!("{path} {}, not a script for cmd.exe", instead(form))),
            Err(verdict) => return verdict,
        }
        let needs = |why: &str| format!("{path} is a script, which cmd.exe runs: {why}");
        match self.find(CMD) {
            Look::Found(cmd) => match self.program(&cmd, CMD) {
                Judged::Good(_) => Judged::Good(format!("{path} is a script for cmd.exe")),
                Judged::Bad(why) => Judged::Bad(needs(&why)),
                Judged::Open(why) => Judged::Open(needs(&why)),
            },
            Look::OfBase(_) => Judged::Good(format!("{path} is a script for cmd.exe")),
            Look::Absent => Judged::Bad(needs(&format!("{CMD} is not there"))),
            Look::Open(why) => Judged::Open(needs(&why)),
        }
    }

    /// Whether the image's Windows runs programs for this processor (Microsoft, "Running 32-bit Applications", "How
    /// emulation works on Arm").
    fn runs_machine(&self, path: &str, pe: &PeSummary) -> Judged {
        let good = || Judged::Good(format!("{path} is a program{}", for_machine(pe)));
        match (self.architecture, pe.architecture.as_deref()) {
            ("", Some(_)) => good(),
            (own, Some(other)) if own == other => good(),
            ("amd64", Some("386")) => match self.has_wow64() {
                Some(true) => good(),
                Some(false) => Judged::Bad(format!("{path} is a 32-bit program, which Nano Server does not start")),
                None => Judged::Open(format!(
                    "{path} is a 32-bit program, which Nano Server does not start, and the kind of base is not known"
                )),
            },
            ("arm64", Some("amd64" | "386" | "arm")) => Judged::Open(format!(
                "{path} is a program{}, and whether a container for arm64 emulates that is not known",
                for_machine(pe)
            )),
            (own, _) => Judged::Bad(format!("{path} is a program{}, not for {own}", for_machine(pe))),
        }
    }

    /// Whether 32-bit programs run; `None` if that is not known.
    fn has_wow64(&self) -> Option<bool> {
        match self.kind {
            Some(WindowsKind::Nanoserver) => Some(matches!(self.files.find(WOW64), Sought::Found(_))),
            kind => kind.map(|_| true),
        }
    }
}

fn unread(path: &str) -> Judged {
    Judged::Open(format!("the start of {path} was not read, so it is not known whether it is a program"))
}

/// What a file is that is not a PE image: a predicate.
fn instead(form: PeForm) -> &'static str {
    match form {
        PeForm::Image | PeForm::Far => "is a program with a header",
        PeForm::Cut => "is cut off: it ends before its headers or sections do",
        PeForm::Dos => "is a program for DOS or 16-bit Windows",
        PeForm::Empty => "is empty",
        PeForm::Elf => "is an ELF file, a program for Linux",
        PeForm::Script => "is a script that begins with #!",
        PeForm::Text => "is a text",
        PeForm::Other => "does not begin as a program for Windows does",
    }
}

fn for_machine(pe: &PeSummary) -> String {
    match &pe.architecture {
        Some(architecture) => format!(" for {architecture}"),
        None => format!(" for an unknown processor ({:#06x})", pe.machine),
    }
}
