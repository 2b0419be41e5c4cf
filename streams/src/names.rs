//! The name space: files to attach streams to, FIFOs, symbolic links, and what hangs where.
//!
//! ```text
//!   /tmp/door (a file) ──fattach──► stream, while it is attached; fdetach: the file again
//!   /tmp/queue (a FIFO) ──open───► one stream for all who have it open
//!   /dev/...            ──────────► the registry's nodes
//! ```
//!
//! Directories are implied by the names in them. Files hold nothing: they exist for their
//! owner, their mode and what is attached to them.
//!
//! Spec: fattach(3C), fdetach(3C), mknod(2), symlink(2), namefs in the reference's section 9.
//! Not done: directories with an owner, hard links; open(2) of a file with nothing
//! attached (ENXIO).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::errno::Errno;
use crate::file::{FileRef, Stream};
use crate::kernel::Env;
use crate::message::Cred;
use crate::process::{Process, oflag};

/// PATH_MAX and NAME_MAX.
const PATH_MAX: usize = 1024;
const NAME_MAX: usize = 255;
/// Symbolic links followed in one look-up.
const MAXSYMLINKS: usize = 20;

/// What a name stands for.
pub(crate) enum Kind {
    /// An ordinary file.
    File,
    /// A device node: the registry knows more.
    Device,
    /// A FIFO, and its stream while somebody has it open.
    Fifo(Weak<Stream>),
    /// A symbolic link.
    Link(String),
}

/// One name.
pub(crate) struct Inode {
    pub kind: Kind,
    uid: u32,
    gid: u32,
    mode: u32,
    /// The stream that is attached here.
    pub attached: Option<FileRef>,
}

impl Inode {
    fn new(kind: Kind, cred: Cred, mode: u32) -> Inode {
        Inode {
            kind,
            uid: cred.uid,
            gid: cred.gid,
            mode: mode & 0o7777,
            attached: None,
        }
    }

    /// EACCES unless the mode grants the access of `flags`.
    pub fn access(&self, cred: Cred, flags: u32) -> Result<(), Errno> {
        let want = match flags & 3 {
            oflag::O_RDONLY => 4,
            oflag::O_WRONLY => 2,
            _ => 6,
        };
        let shift = if cred.uid == self.uid {
            6
        } else if cred.gid == self.gid {
            3
        } else {
            0
        };
        if cred.privileged || self.mode >> shift & want == want {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// EPERM unless owner or privileged.
    fn owned(&self, cred: Cred) -> Result<(), Errno> {
        if cred.privileged || cred.uid == self.uid {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }
}

/// Every name but those of devices nobody touched.
#[derive(Default)]
pub(crate) struct Names {
    inodes: BTreeMap<String, Inode>,
}

impl Names {
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Inode> {
        self.inodes.get_mut(path)
    }
}

/// The lengths of a path and of its parts.
fn check(path: &str) -> Result<(), Errno> {
    if path.len() >= PATH_MAX || path.split('/').any(|c| c.len() > NAME_MAX) {
        return Err(Errno::ENAMETOOLONG);
    }
    if path.starts_with('/') && !path.ends_with('/') {
        Ok(())
    } else {
        Err(Errno::ENOENT)
    }
}

/// ENOTDIR if something on the way to `path` is no directory.
fn check_way(env: &Env, names: &Names, path: &str) -> Result<(), Errno> {
    let reg = env.registry.read();
    let mut ends = path.match_indices('/').map(|(i, _)| i).skip(1);
    let file = |p: &str| names.inodes.contains_key(p) || reg.nodes.contains_key(p);
    if ends.any(|i| file(&path[..i])) {
        return Err(Errno::ENOTDIR);
    }
    Ok(())
}

/// Follows symbolic links to a name that exists.
pub(crate) fn resolve(env: &Env, path: &str) -> Result<String, Errno> {
    check(path)?;
    let names = env.names.lock();
    let mut at = path;
    for _ in 0..=MAXSYMLINKS {
        match names.inodes.get(at) {
            Some(Inode {
                kind: Kind::Link(to),
                ..
            }) => at = to,
            Some(_) => return Ok(at.to_owned()),
            None if env.registry.read().nodes.contains_key(at) => return Ok(at.to_owned()),
            None => {
                check_way(env, &names, at)?;
                return Err(Errno::ENOENT);
            }
        }
    }
    Err(Errno::ELOOP)
}

/// The stream that is attached to a name, if `cred` may open it.
pub(crate) fn attached(
    env: &Env,
    cred: Cred,
    path: &str,
    flags: u32,
) -> Option<Result<FileRef, Errno>> {
    let mut names = env.names.lock();
    let node = names.get_mut(path)?;
    let file = node.attached.clone()?;
    Some(node.access(cred, flags).map(|()| file))
}

impl Process {
    fn create(&self, path: &str, kind: Kind, mode: u32) -> Result<(), Errno> {
        check(path)?;
        let mut names = self.env.names.lock();
        check_way(&self.env, &names, path)?;
        let taken = self.env.registry.read().nodes.contains_key(path);
        if taken || names.inodes.contains_key(path) {
            return Err(Errno::EEXIST);
        }
        let node = Inode::new(kind, self.cred(), mode);
        names.inodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// Makes an ordinary, empty file: something to attach a stream to (creat(2)).
    ///
    /// # Errors
    /// EEXIST, ENAMETOOLONG, ENOENT (not an absolute path), ENOTDIR.
    pub fn mkfile(&self, path: &str, mode: u32) -> Result<(), Errno> {
        self.create(path, Kind::File, mode)
    }

    /// mknod(2) with S_IFIFO: a FIFO.
    ///
    /// # Errors
    /// As [`Process::mkfile`].
    pub fn mkfifo(&self, path: &str, mode: u32) -> Result<(), Errno> {
        self.create(path, Kind::Fifo(Weak::new()), mode)
    }

    /// symlink(2): `path` stands for `target`.
    ///
    /// # Errors
    /// As [`Process::mkfile`].
    pub fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        self.create(path, Kind::Link(target.to_owned()), 0o777)
    }

    /// unlink(2): the name goes; who has it open keeps it.
    ///
    /// # Errors
    /// ENOENT, EPERM (a device, or not the owner), EBUSY (a stream is attached).
    pub fn unlink(&self, path: &str) -> Result<(), Errno> {
        let mut names = self.env.names.lock();
        let node = match names.inodes.get(path) {
            Some(n) => n,
            None if self.env.registry.read().nodes.contains_key(path) => return Err(Errno::EPERM),
            None => return Err(Errno::ENOENT),
        };
        node.owned(self.cred())?;
        if matches!(node.kind, Kind::Device) {
            return Err(Errno::EPERM);
        }
        if node.attached.is_some() {
            return Err(Errno::EBUSY);
        }
        names.inodes.remove(path);
        Ok(())
    }

    /// fattach(3C): until fdetach, to open `path` is to open the stream of `fd`. The
    /// attachment keeps the stream open when its process is gone.
    ///
    /// # Errors
    /// EBADF, ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EBUSY (something is attached there),
    /// EPERM (not the owner), EACCES (the owner may not write).
    pub fn fattach(&self, fd: i32, path: &str) -> Result<(), Errno> {
        let file = self.file(fd)?;
        let path = resolve(&self.env, path)?;
        let mut names = self.env.names.lock();
        // A device node that nobody touched so far is root's.
        let node = names
            .inodes
            .entry(path)
            .or_insert_with(|| Inode::new(Kind::Device, Cred::ROOT, 0o666));
        if node.attached.is_some() {
            return Err(Errno::EBUSY);
        }
        node.owned(self.cred())?;
        node.access(self.cred(), oflag::O_WRONLY)?;
        node.attached = Some(file);
        Ok(())
    }

    /// fdetach(3C): the name is what it was before fattach. Who opened the stream through
    /// it keeps it.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EINVAL (nothing is attached), EPERM.
    pub fn fdetach(&self, path: &str) -> Result<(), Errno> {
        let path = resolve(&self.env, path)?;
        let file = {
            let mut names = self.env.names.lock();
            let node = names.get_mut(&path).ok_or(Errno::EINVAL)?;
            if node.attached.is_none() {
                return Err(Errno::EINVAL);
            }
            node.owned(self.cred())?;
            node.attached.take().ok_or(Errno::EINVAL)?
        };
        self.let_go(file);
        Ok(())
    }

    /// isastream(3C). Every descriptor of this kernel is a stream.
    ///
    /// # Errors
    /// EBADF.
    pub fn isastream(&self, fd: i32) -> Result<bool, Errno> {
        self.stream(fd).map(|_| true)
    }
}

/// Opens a name that is no device: what is attached to it, or a FIFO. `None`: a device.
pub(crate) async fn open(
    env: &Arc<Env>,
    caller: &crate::process::Caller,
    path: &str,
    flags: u32,
) -> Option<Result<FileRef, Errno>> {
    if let Some(file) = attached(env, caller.cred, path, flags) {
        let open = async { crate::modules::connld::open(env, caller, &file?, flags).await };
        return Some(open.await);
    }
    let is_fifo = {
        let mut names = env.names.lock();
        let node = names.get_mut(path)?;
        match (&node.kind, node.access(caller.cred, flags)) {
            (Kind::Device, _) => return None,
            (_, Err(e)) => return Some(Err(e)),
            (Kind::Fifo(_), _) => true,
            _ => false,
        }
    };
    if !is_fifo {
        return Some(Err(Errno::ENXIO)); // files have no contents here
    }
    Some(crate::fifo::open(env, caller, path, flags).await)
}
