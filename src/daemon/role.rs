//! The start of every process that PID 1 starts: give up what the role does not need, then play it.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use super::{loader, log, proxy, runner, vrrp};
use crate::os::seccomp::{self, Confined};
use crate::os::{capability, process, signals};

/// Address space for reading a configuration of at most 1 MiB.
const LOADER_BYTES: u64 = 256 << 20;
/// CPU time for the same.
const LOADER_SECONDS: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Config,
    Proxy,
    Vrrp,
    Runner,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Proxy => "proxy",
            Self::Vrrp => "vrrp",
            Self::Runner => "runner",
        }
    }

    const fn process_name(self) -> &'static CStr {
        match self {
            Self::Config => c"vipgate-config",
            Self::Proxy => c"vipgate-proxy",
            Self::Vrrp => c"vipgate-vrrp",
            Self::Runner => c"vipgate-runner",
        }
    }
}

/// The seccomp filter of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Installed,
    /// For valgrind, which does not know that system call. No role is left a capability.
    LeftOut,
}

/// Plays `role` for the parent at the other end of the link; an error if there is none, or if anything that should
/// be given up cannot be.
pub fn play(role: Role) -> io::Result<ExitCode> {
    play_with(role, Filter::Installed)
}

pub fn play_with(role: Role, filter: Filter) -> io::Result<ExitCode> {
    let link = process::adopt_link()?;
    process::call_oneself(role.process_name())?;
    signals::leave_to_the_supervisor()?;
    process::forbid_new_privileges()?;
    process::hide_memory()?;
    match filter {
        Filter::Installed => confine(role)?,
        Filter::LeftOut => capability::keep_none()?,
    }
    let _log = log::start(role.name());
    Ok(act(role, link))
}

fn confine(role: Role) -> io::Result<()> {
    match role {
        Role::Config => {
            process::die_with_parent()?;
            capability::keep_none()?;
            process::limit_memory_and_time(LOADER_BYTES, LOADER_SECONDS)?;
            seccomp::confine(Confined::Config)
        }
        // These do not die with their parent: the end of the link tells them to leave in good order.
        Role::Proxy => {
            capability::keep_none()?;
            seccomp::confine(Confined::Proxy)
        }
        Role::Vrrp => {
            capability::keep_for_vrrp()?;
            seccomp::confine(Confined::Vrrp)
        }
        Role::Runner => {
            capability::keep_none()?;
            seccomp::confine(Confined::Runner)
        }
    }
}

fn act(role: Role, link: OwnedFd) -> ExitCode {
    match role {
        Role::Config => loader::run(link),
        Role::Proxy => proxy::run(link),
        Role::Vrrp => vrrp::run(link),
        Role::Runner => runner::run(link),
    }
}
