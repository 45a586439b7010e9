//! Why a table could not be put in place.

use std::fmt;
use std::io;

use nix::errno::Errno;

use super::silence::MAX_ADDRESSES;

#[derive(Debug)]
pub enum Error {
    /// This kernel has no nf_tables, or none for ARP.
    Unsupported(io::Error),
    /// NET_ADMIN is missing.
    Forbidden(io::Error),
    TooManyAddresses(usize),
    Other(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(_) => {
                f.write_str("this kernel lacks a part of nf_tables (for the fence: CONFIG_NF_TABLES_ARP)")
            }
            Self::Forbidden(_) => f.write_str("nf_tables needs the capability NET_ADMIN"),
            Self::TooManyAddresses(n) => {
                write!(f, "at most {MAX_ADDRESSES} addresses fit one fence, not {n}")
            }
            Self::Other(_) => f.write_str("the kernel refused the nf_tables batch"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unsupported(error) | Self::Forbidden(error) | Self::Other(error) => Some(error),
            Self::TooManyAddresses(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => Self::Forbidden(error),
            Some(
                Errno::EPROTONOSUPPORT
                | Errno::EAFNOSUPPORT
                | Errno::EOPNOTSUPP
                | Errno::EINVAL
                | Errno::ENOENT
                | Errno::ENOSYS,
            ) => Self::Unsupported(error),
            _ => Self::Other(error),
        }
    }
}
