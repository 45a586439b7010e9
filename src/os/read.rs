//! Reads from a file what is in memory, without waiting for a disk or a network.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::libc;
use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, fstatfs};

/// Bytes from `at` on into `space`, as far as they are in the page cache; 0 at the end of the file. `None`: there is
/// nothing that could be had without waiting.
pub fn read_at_once(file: &File, space: &mut [u8], at: u64) -> io::Result<Option<usize>> {
    let offset = libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
    let vector = libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() };
    // SAFETY: the one vector describes `space`, which is borrowed mutably for the length of the call.
    let n = unsafe { libc::preadv2(file.as_raw_fd(), &raw const vector, 1, offset, libc::RWF_NOWAIT) };
    match Errno::result(n) {
        Ok(n) => Ok(Some(usize::try_from(n).unwrap_or_default())),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        // The file system cannot tell, or the kernel (before 4.6) does not know the call.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) if lies_in_memory(file) => file.read_at(space, at).map(Some),
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Memory itself; or an image's layers, of which the files that are asked for are in the page cache after a moment,
/// so that another thread for each read would cost more than it saves. Everything else that cannot tell is a file
/// system with a process or another machine behind it.
fn lies_in_memory(file: &File) -> bool {
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
    fstatfs(file)
        .is_ok_and(|stat| [TMPFS_MAGIC, RAMFS_MAGIC, OVERLAYFS_SUPER_MAGIC].contains(&stat.filesystem_type()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Whatever the file system: what comes is what is there.
    #[test]
    fn reads_what_lies_at_a_place() {
        for folder in [std::env::temp_dir(), "/dev/shm".into()] {
            if !folder.is_dir() {
                continue;
            }
            let path = folder.join(format!("vipgate-read-{}", std::process::id()));
            std::fs::write(&path, "0123456789").unwrap();
            let file = File::open(&path).unwrap();
            for (at, expect) in [(0, "0123"), (8, "89"), (10, ""), (99, "")] {
                let mut space = [0; 4];
                let n = match read_at_once(&file, &mut space, at).unwrap() {
                    Some(n) => n,
                    None => file.read_at(&mut space, at).unwrap(),
                };
                assert_eq!(&space[..n], expect.as_bytes(), "{} at {at}", folder.display());
            }
            std::fs::remove_file(&path).unwrap();
        }
        assert!(read_at_once(&File::open("/").unwrap(), &mut [0], u64::MAX).is_err());
        assert!(!lies_in_memory(&File::open(Path::new("/proc/self/status")).unwrap()));
    }
}
