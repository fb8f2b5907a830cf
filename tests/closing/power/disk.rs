//! A disk that forgets what was not synced when its power is cut.
//!
//! Of each file there is what its last sync made durable, and any part of what was written since, in
//! pieces as small as a sector. Of each folder there are the names that its last sync made durable,
//! and any of the changes since: no file system promises more, and most keep more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fastrand::Rng;

use super::trace::Event;

/// Sizes of the pieces in which a write may reach the disk.
const PIECES: [usize; 3] = [512, 4096, usize::MAX];

/// Where a file or folder is among all.
type Id = usize;

/// Every file and folder that ever was, the topmost folder first.
pub struct Disk(Vec<Node>);

enum Node {
    File(File),
    Folder(Folder),
}

/// What is durable, and what happened since, by the number of the event.
#[derive(Default)]
struct File {
    durable: Vec<u8>,
    length: usize,
    since: Vec<(usize, Change)>,
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Default)]
struct Folder {
    durable: BTreeMap<String, Id>,
    now: BTreeMap<String, Id>,
    since: Vec<(usize, Names)>,
}

#[derive(Clone)]
enum Names {
    Add(String, Id),
    Remove(String),
    /// One step on every file system that has a journal.
    Rename(String, String, Id),
}

/// How much of what is not durable is lost.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    Everything,
    /// As when the program alone dies.
    Nothing,
    /// About this much.
    Part(f64),
}

impl Loss {
    pub fn any(random: &mut Rng) -> Self {
        match random.u8(..8) {
            0..3 => Self::Everything,
            3 => Self::Nothing,
            _ => Self::Part(random.f64()),
        }
    }

    fn keeps(self, random: &mut Rng) -> bool {
        match self {
            Self::Everything => false,
            Self::Nothing => true,
            Self::Part(lost) => random.f64() >= lost,
        }
    }
}

impl Disk {
    /// An empty folder, durable itself.
    pub fn new() -> Self {
        Self(vec![Node::Folder(Folder::default())])
    }

    /// Takes over the event with this number.
    pub fn apply(&mut self, number: usize, event: &Event) {
        match event {
            Event::Open { path, truncate } => {
                let there = self.find(path);
                if there.is_none() {
                    self.add(number, path, Node::File(File::default()));
                } else if *truncate {
                    self.file(path).change(number, Change::Truncate(0));
                }
            }
            Event::Write { path, at, bytes } => {
                let file = self.file(path);
                let at = at.unwrap_or(file.length);
                file.change(number, Change::Write(at, bytes.clone()));
            }
            Event::Truncate { path, length } => self.file(path).change(number, Change::Truncate(*length)),
            Event::Sync { path, began } => match self.find(path).map(|id| &mut self.0[id]) {
                Some(Node::File(file)) => file.sync(*began),
                Some(Node::Folder(folder)) => folder.sync(*began),
                None => panic!("{} is synced, but not there", path.display()),
            },
            Event::Rename { from, to } => {
                assert_eq!(from.parent(), to.parent(), "a rename within one folder");
                let id = self.find(from).unwrap();
                self.folder(from).change(number, Names::Rename(name(from), name(to), id));
            }
            Event::Link { from, to } => {
                let id = self.find(from).unwrap();
                self.folder(to).change(number, Names::Add(name(to), id));
            }
            Event::Remove { path } => self.folder(path).change(number, Names::Remove(name(path))),
            Event::Folder { path } => self.add(number, path, Node::Folder(Folder::default())),
            Event::Said(_) => {}
        }
    }

    /// Writes what a cut of the power now may leave into the folder `to`.
    pub fn after_a_cut(&self, loss: Loss, random: &mut Rng, to: &Path) {
        self.write(0, loss, random, to);
    }

    fn write(&self, id: Id, loss: Loss, random: &mut Rng, to: &Path) {
        match &self.0[id] {
            Node::File(file) => fs::write(to, file.after_a_cut(loss, random)).unwrap(),
            Node::Folder(folder) => {
                if !to.is_dir() {
                    fs::create_dir(to).unwrap();
                }
                for (name, id) in folder.after_a_cut(loss, random) {
                    self.write(id, loss, random, &to.join(name));
                }
            }
        }
    }

    fn find(&self, path: &Path) -> Option<Id> {
        path.components().try_fold(0, |id, part| match &self.0[id] {
            Node::Folder(folder) => folder.now.get(part.as_os_str().to_str().unwrap()).copied(),
            Node::File(_) => None,
        })
    }

    fn file(&mut self, path: &Path) -> &mut File {
        match self.find(path).map(|id| &mut self.0[id]) {
            Some(Node::File(file)) => file,
            _ => panic!("no such file: {}", path.display()),
        }
    }

    /// The folder that `path` is in.
    fn folder(&mut self, path: &Path) -> &mut Folder {
        match self.find(path.parent().unwrap()).map(|id| &mut self.0[id]) {
            Some(Node::Folder(folder)) => folder,
            _ => panic!("no such folder: {}", path.display()),
        }
    }

    fn add(&mut self, number: usize, path: &Path, node: Node) {
        let id = self.0.len();
        self.0.push(node);
        self.folder(path).change(number, Names::Add(name(path), id));
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl File {
    fn change(&mut self, number: usize, change: Change) {
        self.length = match &change {
            Change::Write(at, bytes) => self.length.max(at + bytes.len()),
            Change::Truncate(length) => *length,
        };
        self.since.push((number, change));
    }

    fn sync(&mut self, before: usize) {
        let synced = self.since.partition_point(|(number, _)| *number < before);
        for (_, change) in self.since.drain(..synced) {
            change.to(&mut self.durable, |_| true, usize::MAX);
        }
    }

    fn after_a_cut(&self, loss: Loss, random: &mut Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (_, change) in &self.since {
            let piece = PIECES[random.usize(..PIECES.len())];
            change.to(&mut bytes, |_| loss.keeps(random), piece);
        }
        bytes
    }
}

impl Change {
    /// Does it to `bytes`, in pieces of this size, each of which may be kept or not.
    fn to(&self, bytes: &mut Vec<u8>, mut keeps: impl FnMut(usize) -> bool, size: usize) {
        match self {
            Self::Write(at, new) => {
                let mut at = *at;
                for piece in new.chunks(size.min(new.len().max(1))) {
                    if keeps(at) {
                        bytes.resize(bytes.len().max(at + piece.len()), 0);
                        bytes[at..at + piece.len()].copy_from_slice(piece);
                    }
                    at += piece.len();
                }
            }
            Self::Truncate(length) => {
                if keeps(*length) {
                    bytes.resize(*length, 0);
                }
            }
        }
    }
}

impl Folder {
    fn change(&mut self, number: usize, change: Names) {
        change.to(&mut self.now);
        self.since.push((number, change));
    }

    fn sync(&mut self, before: usize) {
        let synced = self.since.partition_point(|(number, _)| *number < before);
        for (_, change) in self.since.drain(..synced) {
            change.to(&mut self.durable);
        }
    }

    fn after_a_cut(&self, loss: Loss, random: &mut Rng) -> BTreeMap<String, Id> {
        let mut names = self.durable.clone();
        for (_, change) in &self.since {
            if loss.keeps(random) {
                change.to(&mut names);
            }
        }
        names
    }
}

impl Names {
    fn to(&self, names: &mut BTreeMap<String, Id>) {
        match self {
            Self::Add(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }
}
