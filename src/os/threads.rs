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
    pub id: u32,
    pub state: State,
    /// On a processor, so far.
    pub ran: Duration,
}

#[derive(Debug, Default)]
pub struct Threads {
    /// The first thread of the process, and the one of the name that was asked for, if there is one, in this order.
    pub needed: Vec<Thread>,
    pub others: Vec<Thread>,
}

pub fn of(pid: u32, name: Option<&str>) -> io::Result<Threads> {
    let mut threads = Threads { needed: vec![read(pid, pid)?], others: vec![] };
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let id = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // One that ends meanwhile is another one: the pool's do.
        let Some(Ok(thread)) = id.filter(|id| *id != pid).map(|id| read(pid, id)) else { continue };
        let is_named = || {
            let its = fs::read_to_string(format!("/proc/{pid}/task/{}/comm", thread.id));
            its.is_ok_and(|its| Some(its.trim_end()) == name)
        };
        // A new one has its parent's name until it is given its own, and stands behind it.
        let known =
            if threads.needed.len() == 1 && is_named() { &mut threads.needed } else { &mut threads.others };
        known.push(thread);
    }
    Ok(threads)
}

fn read(pid: u32, id: u32) -> io::Result<Thread> {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/task/{id}/{name}"));
    let known = state(&file("stat")?).zip(scheduled(&file("schedstat")?, RAN));
    let (state, ran) = known.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown form"))?;
    Ok(Thread { id, state, ran })
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
            let look = || of(std::process::id(), Some("looked-at")).ok()?.needed.get(1).copied();
            // The name is given by the new thread itself.
            let first = std::iter::repeat_with(look).flatten().next().unwrap();
            assert_eq!(first.state, State::Running);
            assert!(std::iter::repeat_with(look).flatten().any(|seen| seen.ran > first.ran));
            let others = of(std::process::id(), None).unwrap().others;
            assert!(others.iter().any(|other| other.id == first.id), "{others:?}");
            over.store(true, Ordering::Relaxed);
        });
        for name in [Some("nobody"), None] {
            assert_eq!(of(std::process::id(), name).unwrap().needed.len(), 1);
        }
        assert!(of(u32::MAX, None).is_err());
    }
}
