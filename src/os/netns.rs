//! For tests: a network namespace of their own on a thread of its own, so that the machine's is never touched.

use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{geteuid, gettid};

use super::netlink::{Link, Route};

/// Runs `test` in a fresh namespace. Where that is not allowed, says so and leaves the test out.
pub(crate) fn with(name: &str, test: impl FnOnce() + Send + 'static) {
    in_thread(name, move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            println!("skipped: {error}: a network namespace needs root");
            return;
        }
        test();
    });
}

/// Runs `test` on a thread that has given up every capability.
pub(crate) fn without_capabilities(name: &str, test: impl FnOnce() + Send + 'static) {
    in_thread(name, move || {
        if geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
        }
        caps::clear(None, caps::CapSet::Effective).unwrap();
        test();
    });
}

pub(crate) fn loopback_up() {
    Route::open().unwrap().switch_on(1).unwrap();
}

/// Two ends of a cable in this namespace, switched on; `None`, with the reason printed, without `ip`.
pub(crate) fn veth() -> Option<(Link, Link)> {
    output("ip", &["link", "add", "left", "type", "veth", "peer", "name", "right"])?;
    for end in ["left", "right"] {
        output("ip", &["link", "set", end, "up"])?;
    }
    Some((running("left"), running("right")))
}

/// Waits for the carrier: what is sent before goes nowhere.
fn running(name: &str) -> Link {
    let mut route = Route::open().unwrap();
    loop {
        let link = route.links().unwrap().into_iter().find(|l| l.name.as_str() == name).unwrap();
        if link.running {
            return link;
        }
        thread::yield_now();
    }
}

/// Moves the end `far` of a cable into a second namespace and returns what `open` made there: sockets stay where they
/// were made, and keep that namespace alive.
pub(crate) fn far_end<T: Send + 'static>(
    near: &Link,
    far: &Link,
    open: impl FnOnce(Link) -> T + Send + 'static,
) -> T {
    let (to_test, from_thread) = mpsc::channel();
    let (to_thread, from_test) = mpsc::channel();
    let name = far.name.clone();
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        to_test.send(gettid()).unwrap();
        from_test.recv().unwrap();
        let mut route = Route::open().unwrap();
        let index = route.links().unwrap().into_iter().find(|l| l.name == name).unwrap().index;
        route.switch_on(index).unwrap();
        open(running(name.as_str()))
    });
    let namespace = from_thread.recv().unwrap().to_string();
    output("ip", &["link", "set", far.name.as_str(), "netns", &namespace]).unwrap();
    to_thread.send(()).unwrap();
    let opened = thread.join().unwrap();
    running(near.name.as_str());
    opened
}

/// Waits until there is something to read; gives up, loudly, after ten seconds.
pub(crate) fn readable(fd: &impl AsFd) {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, 10_000u16).unwrap(), 1, "nothing to read after ten seconds");
}

/// What the program printed; `None`, with the reason printed, where it is missing or failed.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            println!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("skipped a check: {program}: {error}");
            None
        }
    }
}

fn in_thread(name: &str, test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(test).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
