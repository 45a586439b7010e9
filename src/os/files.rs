//! Files beneath a folder, and never outside it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// What a path beneath the root turned out to be.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(File, State),
    Directory,
    /// A device, pipe or socket.
    Other,
}

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub length: u64,
    /// Since 1970.
    pub modified: Duration,
}

impl State {
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&fstat(file)?))
    }
}

impl From<&FileStat> for State {
    fn from(stat: &FileStat) -> Self {
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default().min(999_999_999);
        Self {
            length: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: Duration::new(u64::try_from(stat.st_mtime).unwrap_or_default(), nanoseconds),
        }
    }
}

/// Opens `path`, which is relative, beneath `root`: neither dots nor symbolic links lead out of it, and none of
/// /proc's magic links leads anywhere. Never waits for a pipe's other end.
pub fn open_beneath(root: &Path, path: &Path) -> io::Result<Found> {
    let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let how = OpenHow::new()
        .flags(FLAGS)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let opened = match openat2(&root, path, how) {
        // A kernel before 5.6, or a container runtime whose seccomp profile does not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => walk(&root, path)?,
        other => other?,
    };
    let stat = fstat(&opened)?;
    Ok(match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => Found::File(opened.into(), State::from(&stat)),
        SFlag::S_IFDIR => Found::Directory,
        _ => Found::Other,
    })
}

const FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// The same without openat2, one name at a time and no symbolic link at all.
fn walk(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let mut names = vec![];
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => (),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(Errno::EXDEV),
        }
    }
    let flags = FLAGS | OFlag::O_NOFOLLOW;
    let Some((last, folders)) = names.split_last() else {
        return openat(root, ".", flags, Mode::empty());
    };
    let mut folder: Option<OwnedFd> = None;
    for name in folders {
        let at = folder.as_ref().unwrap_or(root).as_fd();
        folder = Some(openat(at, *name, flags | OFlag::O_DIRECTORY, Mode::empty())?);
    }
    openat(folder.as_ref().unwrap_or(root), *last, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("vipgate-files-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("root/sub")).unwrap();
            fs::write(path.join("secret"), "secret").unwrap();
            fs::write(path.join("root/a"), "content").unwrap();
            symlink("a", path.join("root/inside")).unwrap();
            symlink("../../secret", path.join("root/sub/outside")).unwrap();
            symlink(path.join("secret"), path.join("root/absolute")).unwrap();
            symlink("/proc/self/root/etc/passwd", path.join("root/magic")).unwrap();
            nix::unistd::mkfifo(&path.join("root/pipe"), Mode::S_IRUSR).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn shown(result: io::Result<Found>) -> String {
        match result {
            Ok(Found::File(_, state)) => format!("file {}", state.length),
            Ok(Found::Directory) => "directory".into(),
            Ok(Found::Other) => "other".into(),
            Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap())),
        }
    }

    #[test]
    fn nothing_outside_is_reached() {
        let folder = Folder::new("beneath");
        let root = folder.0.join("root");
        let long = "x".repeat(300);
        for (path, expect) in [
            ("a", "file 7"),
            ("inside", "file 7"),
            ("sub", "directory"),
            (".", "directory"),
            ("sub/../a", "file 7"),
            ("pipe", "other"),
            ("missing", "ENOENT"),
            ("a/b", "ENOTDIR"),
            ("../secret", "EXDEV"),
            ("sub/../../secret", "EXDEV"),
            ("sub/outside", "EXDEV"),
            ("absolute", "EXDEV"),
            ("magic", "EXDEV"),
            ("/etc/passwd", "EXDEV"),
            (&long, "ENAMETOOLONG"),
        ] {
            assert_eq!(shown(open_beneath(&root, Path::new(path))), expect, "{path}");
        }
        assert_eq!(shown(open_beneath(&folder.0.join("lost"), Path::new("a"))), "ENOENT");
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let folder = Folder::new("walk");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let root = open(&folder.0.join("root"), flags, Mode::empty()).unwrap();
        for (path, expect) in [
            ("a", Ok(())),
            (".", Ok(())),
            ("sub", Ok(())),
            ("inside", Err(Errno::ELOOP)),
            ("sub/outside", Err(Errno::ELOOP)),
            ("absolute", Err(Errno::ELOOP)),
            ("../secret", Err(Errno::EXDEV)),
            ("/etc/passwd", Err(Errno::EXDEV)),
            ("a/b", Err(Errno::ENOTDIR)),
        ] {
            assert_eq!(walk(&root, Path::new(path)).map(drop), expect, "{path}");
        }
    }
}
