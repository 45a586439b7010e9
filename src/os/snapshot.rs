//! The configuration file, read whole at one moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use sha2::{Digest, Sha256};

/// Longest configuration in bytes.
pub const MAX_FILE: u64 = 1 << 20;
/// The file in a configuration directory.
pub const FILE_NAME: &str = "vipgate.yaml";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    /// SHA-256.
    pub digest: [u8; 32],
    /// Names that the file has on its file system. None left: it has been replaced, and whoever mounted the file
    /// itself keeps the old one for ever.
    pub links: u64,
}

/// The file that `path` means: itself, or the configuration in it if it is a directory.
pub fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() }
}

pub fn read(path: &Path) -> io::Result<Snapshot> {
    let path = file_of(path);
    let (file, links) = open(&path)?;
    let bytes = read_bounded(file, MAX_FILE)?;
    Ok(Snapshot { links, ..Snapshot::of(path, bytes) })
}

/// Another file, of at most so many bytes.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_bounded(open(path)?.0, most)
}

/// A regular file, and how many names it has.
fn open(path: &Path) -> io::Result<(File, u64)> {
    // A pipe would block for ever.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    Ok((file, metadata.nlink()))
}

impl Snapshot {
    /// A text that is in no file.
    pub fn of(path: PathBuf, bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes).into();
        Self { path, bytes, digest, links: 1 }
    }
}

fn read_bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("is larger than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_means_the_file_in_it_and_links_are_counted() {
        let dir = std::env::temp_dir().join(format!("vipgate-snapshot-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join(FILE_NAME);
        fs::write(&file, "node: a\n").unwrap();
        let snapshot = read(&dir).unwrap();
        assert_eq!(snapshot, read(&file).unwrap());
        assert_eq!((snapshot.path, snapshot.links), (file.clone(), 1));
        // What a mount of the file itself goes on seeing: an open file without a name.
        let open = File::open(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&open);
        assert_eq!(read(Path::new(&format!("/proc/self/fd/{number}"))).unwrap().links, 0);

        let large = File::create(&file).unwrap();
        large.set_len(MAX_FILE + 1).unwrap();
        assert_eq!(read(&file).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        large.set_len(MAX_FILE).unwrap();
        assert_eq!(read(&file).unwrap().bytes.len() as u64, MAX_FILE);
        fs::remove_file(&file).unwrap();
        assert_eq!(read(&dir).unwrap_err().kind(), io::ErrorKind::NotFound);
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&file).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
