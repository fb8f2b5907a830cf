//! What a program asked of the file system, and what it said, read from a trace of its system calls.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The system calls that can change a file or a folder, or make it durable. `mmap` is not among
/// them: SQLite maps only its `-shm` file, which nobody needs after a loss of power.
pub const CALLS: &str = "trace=openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,\
    truncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,mkdir,\
    mkdirat,rmdir,link,linkat,symlink,symlinkat,copy_file_range,sendfile";

/// One of them. Paths are below the folder that is looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Opened for writing: made if there is none.
    Open {
        path: PathBuf,
        truncate: bool,
    },
    /// Written, at a place or at the end.
    Write {
        path: PathBuf,
        at: Option<usize>,
        bytes: Vec<u8>,
    },
    /// Cut or filled up with zeros.
    Truncate {
        path: PathBuf,
        length: usize,
    },
    /// Made durable is what happened to it before the event numbered so.
    Sync {
        path: PathBuf,
        began: usize,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    Folder {
        path: PathBuf,
    },
    /// A line on standard output.
    Said(String),
}

/// A call with the numbers of the lines at which it began and ended.
struct Call {
    began: usize,
    ended: usize,
    text: String,
}

/// Reads a trace, as `strace -f -y -xx` writes it, of what happened below `root`.
pub fn read(trace: &str, root: &Path) -> Vec<Event> {
    let mut placed: Vec<(usize, Event)> = Vec::new();
    for Call { began, ended, text } in calls(trace) {
        if text.contains(") = -1 ") {
            continue;
        }
        match event(&text, root, began) {
            // What a call made durable is so when it has ended; everything else may be so at once.
            Some(sync @ Event::Sync { .. }) => placed.push((ended, sync)),
            Some(event) => placed.push((began, event)),
            None => {}
        }
    }
    placed.sort_by_key(|(at, _)| *at);
    let lines: Vec<usize> = placed.iter().map(|(at, _)| *at).collect();
    let mut events: Vec<Event> = placed.into_iter().map(|(_, event)| event).collect();
    for event in &mut events {
        if let Event::Sync { began, .. } = event {
            *began = lines.partition_point(|at| at < began);
        }
    }
    events
}

/// Whole calls: those that another thread interrupted are put together.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut open: HashMap<&str, (usize, &str)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(head) = text.strip_suffix("<unfinished ...>") {
            open.insert(thread, (number, head));
        } else if text.starts_with("<... ") {
            let Some((began, head)) = open.remove(thread) else { continue };
            let (_, tail) = text.split_once("resumed>").unwrap();
            // `strace` puts the results of such calls into a column of their own.
            let tail = tail.split_whitespace().collect::<Vec<_>>().join(" ");
            calls.push(Call { began, ended: number, text: format!("{}{tail}", head.trim_end()) });
        } else {
            calls.push(Call { began: number, ended: number, text: text.to_owned() });
        }
    }
    calls
}

/// What a call is, if it concerns files below `root`.
fn event(text: &str, root: &Path, began: usize) -> Option<Event> {
    let (name, rest) = text.split_once('(')?;
    let arguments = rest.rfind(") = ").map(|end| &rest[..end]);
    let arguments = arguments.unwrap_or_else(|| panic!("a call that cannot be read: {text:.200}"));
    let parts: Vec<&str> = arguments.split(", ").collect();
    let below = |path: PathBuf| path.strip_prefix(root).ok().map(Path::to_owned);
    let ours = |path: &Path| !path.to_string_lossy().ends_with("-shm");
    let of_descriptor = || below(descriptor(parts[0])?).filter(|path| ours(path));
    let named = |text: &str| below(text_path(text)?).filter(|path| ours(path));
    match name {
        "openat" | "open" => {
            let at = usize::from(name == "openat");
            let (path, flags) = (named(parts[at])?, parts[at + 1]);
            let truncate = flags.contains("O_TRUNC");
            flags.contains("O_CREAT").then_some(Event::Open { path, truncate })
        }
        "write" if parts[0].starts_with("1<") => {
            Some(Event::Said(String::from_utf8_lossy(&unescape(parts[1])).trim_end().to_owned()))
        }
        "write" => Some(Event::Write { path: of_descriptor()?, at: None, bytes: unescape(parts[1]) }),
        "pwrite64" => {
            let at = Some(parts[3].parse().unwrap());
            Some(Event::Write { path: of_descriptor()?, at, bytes: unescape(parts[1]) })
        }
        "ftruncate" => Some(Event::Truncate { path: of_descriptor()?, length: parts[1].parse().unwrap() }),
        "fsync" | "fdatasync" => Some(Event::Sync { path: of_descriptor()?, began }),
        "rename" => Some(Event::Rename { from: named(parts[0])?, to: named(parts[1])? }),
        "linkat" => Some(Event::Link { from: named(parts[1])?, to: named(parts[3])? }),
        "unlink" | "rmdir" => Some(Event::Remove { path: named(parts[0])? }),
        "unlinkat" => {
            let folder = descriptor(parts[0])?;
            Some(Event::Remove { path: below(folder.join(text_path(parts[1])?))? })
        }
        "mkdir" => Some(Event::Folder { path: named(parts[0])? }),
        _ => {
            let touches = parts.iter().any(|part| {
                [descriptor(part), text_path(part)].into_iter().flatten().any(|path| below(path).is_some())
            });
            assert!(!touches, "a call that the model of the disk does not know: {name}({arguments:.200})");
            None
        }
    }
}

/// The path in `5<\x2f...>`.
fn descriptor(text: &str) -> Option<PathBuf> {
    let (_, path) = text.split_once('<')?;
    text_path(path.strip_suffix('>')?)
}

/// The path in `"\x2f..."`, with or without its quotes; nothing in what is no text.
fn text_path(text: &str) -> Option<PathBuf> {
    let text = text.trim_matches('"');
    text.starts_with("\\x").then(|| String::from_utf8_lossy(&unescape(text)).into_owned().into())
}

/// The bytes of `"\x2f\x74"`, with or without its quotes.
fn unescape(text: &str) -> Vec<u8> {
    let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
    assert!(!text.ends_with("..."), "the trace has only a part");
    text.trim_matches('"').as_bytes().chunks_exact(4).map(|it| digit(it[2]) << 4 | digit(it[3])).collect()
}
