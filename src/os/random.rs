//! The kernel's random numbers.

use std::io;

use nix::errno::Errno;
use nix::libc;

/// Never blocks once the machine has booted.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let rest = &mut bytes[filled..];
        // Not by its name in libc: the standard library refers to that weakly, and where all is linked into one static
        // file it then leads nowhere.
        // SAFETY: the pointer and the length are those of one slice, which the kernel writes to.
        match unsafe { libc::syscall(libc::SYS_getrandom, rest.as_mut_ptr(), rest.len(), 0) } {
            n if n >= 0 => filled += usize::try_from(n).unwrap_or_default(),
            _ if Errno::last() == Errno::EINTR => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        assert_ne!(bytes::<32>().unwrap(), bytes::<32>().unwrap());
        assert!(bytes::<0>().unwrap().is_empty());
    }
}
