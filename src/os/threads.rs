//! What the threads of another process do, as the kernel tells it in `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use super::cpu::{RAN, scheduled};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On a processor, or waits for one.
    Running,
    /// Waits, and no signal reaches it meanwhile.
    Uninterruptible,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    pub state: State,
    /// On a processor, so far.
    pub ran: Duration,
}

/// The first thread of this process, and the one of that name, if there is one, in this order.
pub fn of(pid: u32, name: Option<&str>) -> io::Result<Vec<Thread>> {
    let mut found = vec![read(pid, pid)?];
    let Some(name) = name else { return Ok(found) };
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(thread) = thread.filter(|thread| *thread != pid) else { continue };
        // One that ends meanwhile is another one: the pool's do.
        let its = fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm"));
        if its.is_ok_and(|its| its.trim_end() == name) {
            found.push(read(pid, thread)?);
            break;
        }
    }
    Ok(found)
}

fn read(pid: u32, thread: u32) -> io::Result<Thread> {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/task/{thread}/{name}"));
    let known = state(&file("stat")?).zip(scheduled(&file("schedstat")?, RAN));
    let (state, ran) = known.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown form"))?;
    Ok(Thread { state, ran })
}

/// `PID (NAME) STATE ..`, in which the name may hold anything.
fn state(stat: &str) -> Option<State> {
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(match rest.bytes().next()? {
        b'R' => State::Running,
        b'D' => State::Uninterruptible,
        _ => State::Other,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn the_state_stands_behind_the_name() {
        let table = [
            ("12 (vipgate) R 1 12", Some(State::Running)),
            ("12 (a) R (b) D 1 12", Some(State::Uninterruptible)),
            ("12 (worker-0) t 1", Some(State::Other)),
            ("12 (worker-0) ", None),
            ("12", None),
        ];
        for (text, expect) in table {
            assert_eq!(state(text), expect, "{text}");
        }
        assert_eq!(scheduled("2000000 5 7\n", RAN), Some(Duration::from_millis(2)));
        assert_eq!(scheduled("", RAN), None);
    }

    #[test]
    fn a_thread_is_found_by_its_name_and_seen_to_run() {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let busy = std::thread::Builder::new().name("looked-at".into());
            busy.spawn_scoped(scope, || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            })
            .unwrap();
            let look = || of(std::process::id(), Some("looked-at")).ok()?.get(1).copied();
            // The name is given by the new thread itself.
            let first = std::iter::repeat_with(look).flatten().next().unwrap();
            assert_eq!(first.state, State::Running);
            assert!(std::iter::repeat_with(look).flatten().any(|seen| seen.ran > first.ran));
            over.store(true, Ordering::Relaxed);
        });
        for name in [Some("nobody"), None] {
            assert_eq!(of(std::process::id(), name).unwrap().len(), 1);
        }
        assert!(of(u32::MAX, None).is_err());
    }
}
