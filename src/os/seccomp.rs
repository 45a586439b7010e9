//! System calls that a role has no business making, refused by the kernel. Refused, not fatal: a library that tries
//! one and has another way goes on. Everything else stays allowed, so that a new libc does not break; what a role
//! could use against its neighbours, or to become more than it is, is listed here with its reason.

use std::collections::BTreeMap;
use std::io;

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// Whom the filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confined {
    /// TCP and UDP, no listening socket of its own.
    Proxy,
    /// Also netlink, packet and raw sockets.
    Vrrp,
    /// No sockets at all.
    Config,
    /// Other programs, which are confined with it: no listening socket, no other namespace, no hand on a neighbour.
    Runner,
}

/// The last system call (Linux 6.10) that this list has been checked against. Later ones answer ENOSYS, which every
/// libc has to expect.
const LAST_KNOWN: u32 = libc::SYS_mseal as u32;

/// The numbers of x86-64's x32 personality begin here: the same calls a second time, past a list of numbers.
const X32: u32 = 0x4000_0000;

/// Installs the filter for good, for this thread and all that it starts. To be called before there is a second one,
/// after no-new-privileges.
pub fn confine(role: Confined) -> io::Result<()> {
    let clone3 = BTreeMap::from([(libc::SYS_clone3, vec![])]);
    // Its flags lie in memory, where no filter can read them. ENOSYS sends every libc back to `clone`.
    install(clone3, libc::ENOSYS)?;
    install(rules(role)?, libc::EPERM)
}

fn install(rules: BTreeMap<c_long, Vec<SeccompRule>>, errno: i32) -> io::Result<()> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    let program = [&unknown_numbers()[..], &program].concat();
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

/// `if nr > LAST_KNOWN return ENOSYS`, which includes x32.
fn unknown_numbers() -> [sock_filter; 3] {
    const { assert!(LAST_KNOWN < X32) };
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let nr = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, nr),
        op(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, LAST_KNOWN),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, enosys),
    ]
}

fn rules(role: Confined) -> io::Result<BTreeMap<c_long, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<_, _> =
        NEVER.iter().flat_map(|(_, calls)| *calls).map(|call| (*call, vec![])).collect();
    if role == Confined::Runner {
        PROGRAMS.iter().for_each(|call| drop(rules.remove(call)));
    }
    let own = u64::from(std::process::id());
    let mut when = |call: c_long, all: &[(u8, Op, u64)]| -> io::Result<()> {
        let conditions = all
            .iter()
            .map(|(argument, op, value)| SeccompCondition::new(*argument, Len::Dword, op.clone(), *value));
        let conditions = conditions.collect::<Result<_, _>>().map_err(io::Error::other)?;
        rules.entry(call).or_default().push(SeccompRule::new(conditions).map_err(io::Error::other)?);
        Ok(())
    };
    if role == Confined::Runner {
        // With a user namespace comes every capability inside of it.
        let user = libc::CLONE_NEWUSER as u64;
        when(libc::SYS_clone, &[(0, Op::MaskedEq(user), user)])?;
    } else {
        // Signals: `abort` and `raise` reach this process, nothing else does.
        for call in [libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill] {
            when(call, &[(0, Op::Ne, own)])?;
        }
        // Threads, but no processes.
        when(libc::SYS_clone, &[(0, Op::MaskedEq(libc::CLONE_THREAD as u64), 0)])?;
        // A neighbour of the same user could be starved to death.
        for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity] {
            when(call, &[(0, Op::Ne, 0), (0, Op::Ne, own)])?;
        }
    }
    // Characters typed into the terminal that this was started from.
    for request in [TIOCSTI, TIOCLINUX] {
        when(libc::SYS_ioctl, &[(1, Op::Eq, request)])?;
    }
    let (inet, inet6, unix) = (libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_UNIX as u64);
    match role {
        Confined::Vrrp => (),
        Confined::Proxy => {
            // Only these, since netlink and packet sockets are not the only families that reach into the kernel;
            // and no unix sockets, since the control socket trusts who it takes for the administrator.
            when(libc::SYS_socket, &[(0, Op::Ne, inet), (0, Op::Ne, inet6)])?;
            when(libc::SYS_socket, &[(1, Op::MaskedEq(SOCKET_TYPE), libc::SOCK_RAW as u64)])?;
            when(libc::SYS_socketpair, &[(0, Op::Ne, unix)])?;
            when(libc::SYS_listen, &[(0, Op::Ge, 0)])?;
        }
        Confined::Runner => {
            when(libc::SYS_socket, &[(0, Op::Eq, libc::AF_PACKET as u64)])?;
            // Netlink's are of that type too, and `ip address` shows what anybody may see.
            for family in [inet, inet6] {
                let raw = (1, Op::MaskedEq(SOCKET_TYPE), libc::SOCK_RAW as u64);
                when(libc::SYS_socket, &[(0, Op::Eq, family), raw])?;
            }
            // A port that the proxy shares between its workers could be shared with one more.
            when(libc::SYS_listen, &[(0, Op::Ge, 0)])?;
        }
        Confined::Config => {
            for call in [libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen] {
                when(call, &[(0, Op::Ge, 0)])?;
            }
        }
    }
    Ok(rules)
}

/// The socket type without SOCK_NONBLOCK and SOCK_CLOEXEC.
const SOCKET_TYPE: u64 = 0xf;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// What any program may have to do: start another one, wait for it and end it, be nicer than others.
const PROGRAMS: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pidfd_open,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_ioprio_set,
];

/// Reason and calls.
const NEVER: &[(&str, &[c_long])] = &[
    ("another program", &[libc::SYS_execve, libc::SYS_execveat]),
    #[cfg(target_arch = "x86_64")]
    ("another process", &[libc::SYS_fork, libc::SYS_vfork]),
    (
        "a signal or a hand on another process",
        &[
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_pidfd_send_signal,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_getfd,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_process_madvise,
            libc::SYS_process_mrelease,
            libc::SYS_kcmp,
            libc::SYS_migrate_pages,
            libc::SYS_move_pages,
        ],
    ),
    (
        "another process's share of the CPU",
        &[
            libc::SYS_setpriority,
            libc::SYS_sched_setscheduler,
            libc::SYS_sched_setparam,
            libc::SYS_sched_setattr,
            libc::SYS_ioprio_set,
        ],
    ),
    (
        "I/O that this filter does not see",
        &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register],
    ),
    (
        "programs in the kernel, and holes that exploits come through",
        &[libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_fanotify_init],
    ),
    ("keys of the host", &[libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key]),
    (
        "another view of the file system or of the machine",
        &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_mount_setattr,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_name_to_handle_at,
            libc::SYS_open_by_handle_at,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_swapon,
            libc::SYS_swapoff,
        ],
    ),
    (
        "the machine itself",
        &[
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_acct,
            libc::SYS_syslog,
            libc::SYS_sethostname,
            libc::SYS_setdomainname,
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
            libc::SYS_adjtimex,
            libc::SYS_clock_adjtime,
            libc::SYS_personality,
            libc::SYS_vhangup,
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    (
        "x86's own ways into the kernel",
        &[libc::SYS_kexec_file_load, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, ToSocketAddrs};
    use std::process::Command;

    /// Runs `test` in a thread of its own that is confined for `role`: filters belong to threads.
    fn confined<T: Send>(role: Confined, test: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sys::prctl::set_no_new_privs().unwrap();
                confine(role).unwrap();
                test()
            });
            thread.join().unwrap()
        })
    }

    /// The error of a system call with these arguments, which name nothing that exists.
    fn errno(call: c_long, arguments: [c_long; 3]) -> Option<Errno> {
        let [a, b, c] = arguments;
        // SAFETY: no argument of the calls below is a pointer that the kernel would write through.
        let result = unsafe { libc::syscall(call, a, b, c, 0, 0, 0) };
        (result < 0).then(Errno::last)
    }

    #[test]
    fn what_a_role_may_not_do_is_refused() {
        let (eperm, own) = (Some(Errno::EPERM), c_long::from(std::process::id()));
        let domain = |domain: i32, kind: i32| [c_long::from(domain), c_long::from(kind), 0];
        let raw = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let everybody: &[(c_long, [c_long; 3])] = &[
            (libc::SYS_kill, [1, 0, 0]),
            (libc::SYS_kill, [-1, 0, 0]),
            (libc::SYS_tgkill, [1, 1, 0]),
            (libc::SYS_tkill, [1, 0, 0]),
            (libc::SYS_ptrace, [0, 0, 0]),
            (libc::SYS_execve, [0, 0, 0]),
            (libc::SYS_unshare, [0, 0, 0]),
            (libc::SYS_prlimit64, [1, 0, 0]),
            (libc::SYS_sched_setaffinity, [1, 0, 0]),
            (libc::SYS_clone, [c_long::from(libc::SIGCHLD), 0, 0]),
            (libc::SYS_ioctl, [0, TIOCSTI as c_long, 0]),
            (libc::SYS_pidfd_open, [1, 0, 0]),
        ];
        let proxy: &[(c_long, [c_long; 3])] = &[
            (libc::SYS_socket, domain(libc::AF_PACKET, raw)),
            (libc::SYS_socket, domain(libc::AF_NETLINK, raw)),
            (libc::SYS_socket, domain(libc::AF_INET, raw)),
            (libc::SYS_socket, domain(libc::AF_UNIX, libc::SOCK_STREAM)),
            (libc::SYS_listen, [0, 0, 0]),
        ];
        let config: &[(c_long, [c_long; 3])] = &[
            (libc::SYS_socket, domain(libc::AF_INET, libc::SOCK_STREAM)),
            (libc::SYS_socket, domain(libc::AF_UNIX, libc::SOCK_STREAM)),
            (libc::SYS_connect, [0, 0, 0]),
        ];
        for (role, special) in [(Confined::Proxy, proxy), (Confined::Vrrp, &[]), (Confined::Config, config)] {
            confined(role, || {
                for (call, arguments) in everybody.iter().chain(special) {
                    assert_eq!(errno(*call, *arguments), eperm, "{role:?}: call {call} {arguments:?}");
                }
                for call in [libc::SYS_clone3, c_long::from(LAST_KNOWN) + 1, c_long::from(X32)] {
                    assert_eq!(errno(call, [0; 3]), Some(Errno::ENOSYS), "{role:?}: call {call}");
                }
                for call in [libc::SYS_kill, libc::SYS_prlimit64] {
                    assert_eq!(errno(call, [own, 0, 0]), None, "{role:?}: call {call} on itself");
                }
                assert!(Command::new("/proc/self/exe").spawn().is_err());
            });
        }
    }

    /// What it starts is confined as it is itself.
    #[test]
    fn a_runner_starts_programs_that_may_do_no_more_than_it() {
        confined(Confined::Runner, || {
            let refused = [
                (libc::SYS_socket, [c_long::from(libc::AF_PACKET), c_long::from(libc::SOCK_RAW), 0]),
                (libc::SYS_socket, [c_long::from(libc::AF_INET), c_long::from(libc::SOCK_RAW), 0]),
                (libc::SYS_listen, [0, 0, 0]),
                (libc::SYS_ptrace, [0, 0, 0]),
                (libc::SYS_unshare, [0, 0, 0]),
                (libc::SYS_clone, [c_long::from(libc::CLONE_NEWUSER), 0, 0]),
                (libc::SYS_ioctl, [0, TIOCSTI as c_long, 0]),
                (libc::SYS_io_uring_setup, [1, 0, 0]),
            ];
            for (call, arguments) in refused {
                assert_eq!(errno(call, arguments), Some(Errno::EPERM), "call {call} {arguments:?}");
            }
            // A program of its own, which starts, ends and waits for another; then one that asks for too much.
            let shell = |line: &str| Command::new("/bin/sh").args(["-c", line]).status().unwrap();
            assert!(shell("sleep 60 & kill $! && wait $!; [ $? = 143 ]").success());
            assert!(!shell("unshare --user true 2>/dev/null").success());
            assert!(TcpListener::bind("127.0.0.1:0").is_err());
            let netlink = [c_long::from(libc::AF_NETLINK), c_long::from(libc::SOCK_RAW), 0];
            assert_eq!(errno(libc::SYS_socket, netlink), None);
        });
    }

    #[test]
    fn a_proxy_can_do_its_work() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        confined(Confined::Proxy, || {
            let client = std::thread::spawn(move || TcpStream::connect(address).unwrap().write_all(b"hello"));
            let mut text = String::new();
            listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
            client.join().unwrap().unwrap();
            assert_eq!(text, "hello");
            assert!(("localhost", 80).to_socket_addrs().unwrap().next().is_some());
            std::os::unix::net::UnixStream::pair().unwrap();
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            // `openat2` with a null structure is a fault, not a refusal.
            assert_eq!(errno(libc::SYS_openat2, [0, 0, 0]), Some(Errno::EINVAL));
        });
    }
}
