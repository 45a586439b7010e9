//! Programs of the user's: found, started apart from everything of ours, and ended with all that they have started.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::unistd::{AccessFlags, Pid, access};

/// Those that a role leaves to the supervisor. What is ignored stays ignored in a program that is started.
const IGNORED_BY_ROLES: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Has `command` start in a process group of its own, with the signals as a program expects them, and be killed when
/// the thread ends that starts it.
pub fn set_apart(command: &mut Command) {
    command.process_group(0);
    let prepare = || {
        for number in IGNORED_BY_ROLES {
            // SAFETY: `SigDfl` runs no code of ours.
            unsafe { signal(number, SigHandler::SigDfl) }?;
        }
        Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
    };
    // SAFETY: between fork and exec it makes system calls only: no allocation, no lock.
    unsafe { command.pre_exec(prepare) };
}

/// SIGTERM, or SIGKILL, for the process group that `leader` has begun. One that is empty is no error.
pub fn end_group(leader: u32, kill: bool) -> io::Result<()> {
    let group = i32::try_from(leader).ok().filter(|leader| *leader > 1);
    let group = group.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a process group"))?;
    let signal = if kill { Signal::SIGKILL } else { Signal::SIGTERM };
    match killpg(Pid::from_raw(group), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is such a program and it may be executed: an absolute path, or a name to be found in one of the folders
/// of `path`.
pub fn find(program: &str, path: Option<&OsStr>) -> io::Result<()> {
    let executable = |file: &Path| -> io::Result<()> {
        if std::fs::metadata(file)?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        Ok(access(file, AccessFlags::X_OK)?)
    };
    if program.contains('/') {
        return executable(Path::new(program));
    }
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in folders {
        match executable(&folder.join(program)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_they_are() {
        let path = OsStr::new("/nowhere:/etc:/bin:/usr/bin");
        let table = [
            ("/bin/sh", None, None),
            ("sh", Some(path), None),
            ("sh", None, Some(io::ErrorKind::NotFound)),
            ("/bin/no-such-program", Some(path), Some(io::ErrorKind::NotFound)),
            ("/etc", None, Some(io::ErrorKind::IsADirectory)),
            ("/etc/passwd", None, Some(io::ErrorKind::PermissionDenied)),
            ("passwd.no", Some(path), Some(io::ErrorKind::NotFound)),
        ];
        for (program, path, expect) in table {
            let got = find(program, path).err().map(|error| error.kind());
            assert_eq!(got, expect, "{program}");
        }
    }

    #[test]
    fn numbers_that_mean_everybody_are_never_signalled() {
        for leader in [0, 1, u32::MAX, 1 << 31] {
            assert_eq!(end_group(leader, true).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{leader}");
        }
    }
}
