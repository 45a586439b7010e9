//! One program from its start to its end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tracing::warn;

use super::output::Lines;
use crate::link::{CommandEnd, Run};
use crate::notification::hooks::SECRETS;
use crate::os::program;

/// From SIGTERM to SIGKILL, as keepalived has it.
const GRACE: Duration = Duration::from_secs(2);
/// The same where vipgate itself has to be gone soon.
const GRACE_AT_STOP: Duration = Duration::from_millis(500);
/// Woken so much later than it wanted to be, this process did not run, nor perhaps the program: a pause stops both. It is
/// given its time once more.
const STALL: Duration = Duration::from_millis(100);
/// Read at once.
const PIECE: usize = 4096;

/// When everything has to be over, once that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// For what runs when this becomes known: whoever waits behind it has a turn as well.
    pub(super) running: Instant,
    pub(super) all: Instant,
}

pub(super) type End = watch::Receiver<Option<Deadline>>;

/// Runs it; each line that it writes is handed to `say`. What it was, and its last line.
pub(super) async fn run(run: &Run, end: End, mut say: impl FnMut(&str) + Send) -> (CommandEnd, String) {
    match start(run) {
        Ok((child, output)) => attend(child, output, run.timeout, end, &mut say).await,
        Err(error) => (CommandEnd::NotStarted { reason: error.to_string() }, String::new()),
    }
}

fn start(run: &Run) -> io::Result<(Child, pipe::Receiver)> {
    let Some((name, arguments)) = run.argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no program"));
    };
    let (reader, writer) = io::pipe()?;
    let mut command = std::process::Command::new(name);
    command.args(arguments).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let own = std::env::vars_os().map(|(name, _)| name);
    for secret in own.filter(|name| name.as_encoded_bytes().starts_with(SECRETS.as_bytes())) {
        command.env_remove(secret);
    }
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    program::set_apart(&mut command);
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    // The writing ends go with `command`: then the output ends with the program.
    Ok((Command::from(command).spawn()?, output))
}

/// Ends the group of a program that nobody attends any more.
struct Group(Option<u32>);

impl Group {
    fn end(&self, kill: bool) {
        if let Some(error) = self.0.and_then(|leader| program::end_group(leader, kill).err()) {
            warn!("a program cannot be ended: {error}");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end(true);
    }
}

#[derive(Clone, Copy)]
enum Step {
    Running,
    Terminated,
    Killed,
}

async fn attend(
    mut child: Child,
    output: pipe::Receiver,
    timeout: Duration,
    mut end: End,
    say: &mut (dyn FnMut(&str) + Send),
) -> (CommandEnd, String) {
    let mut group = Group(child.id());
    let start = Instant::now();
    let mut until = start + timeout;
    let (mut step, mut has_stalled) = (Step::Running, false);
    let mut lines = Lines::default();
    let mut is_open = true;
    let mut last = end.borrow_and_update().map(|deadline| deadline.all);
    let status = loop {
        until = match (step, last) {
            (Step::Running, Some(last)) => until.min(last.checked_sub(GRACE_AT_STOP).unwrap_or(last)),
            (Step::Terminated, Some(last)) => until.min(last),
            (_, None) | (Step::Killed, Some(_)) => until,
        };
        tokio::select! {
            // What has ended in time has, whenever this process comes to see it.
            biased;
            status = child.wait() => break status,
            () = tokio::time::sleep_until(until.into()) => match step {
                Step::Running if last.is_none() && !has_stalled && until.elapsed() >= STALL => {
                    (has_stalled, until) = (true, Instant::now() + timeout);
                }
                Step::Running => {
                    group.end(false);
                    (step, until) = (Step::Terminated, Instant::now() + GRACE);
                }
                Step::Terminated => {
                    group.end(true);
                    (step, until) = (Step::Killed, Instant::now() + GRACE);
                }
                Step::Killed => until = Instant::now() + GRACE,
            },
            // Without the sender the role itself ends, and this with it.
            Ok(()) = end.changed(), if last.is_none() => last = end.borrow().map(|deadline| deadline.running),
            ready = output.readable(), if is_open => is_open = ready.is_ok() && read(&output, &mut lines, say),
        }
    };
    if is_open {
        // What it has left behind may hold the pipe open for ever.
        read(&output, &mut lines, say);
    }
    match step {
        // A program may leave another one behind on purpose.
        Step::Running => group.0 = None,
        Step::Terminated | Step::Killed => (),
    }
    (how(status, step, start.elapsed()), lines.finish(say))
}

/// All that is there; whether more can come.
fn read(output: &pipe::Receiver, lines: &mut Lines, say: &mut (dyn FnMut(&str) + Send)) -> bool {
    let mut piece = [0; PIECE];
    // As much as a pipe holds: a program that writes faster than this reads must not hold up the others.
    for _ in 0..16 {
        match output.try_read(&mut piece) {
            Ok(0) => return false,
            Ok(n) => lines.take(piece.get(..n).unwrap_or_default(), say),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

fn how(status: io::Result<ExitStatus>, step: Step, after: Duration) -> CommandEnd {
    if !matches!(step, Step::Running) {
        return CommandEnd::TimedOut { after };
    }
    let status = match status {
        Ok(status) => status,
        Err(error) => return CommandEnd::NotStarted { reason: format!("it is lost: {error}") },
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => CommandEnd::Exited { code },
        (None, Some(number)) => {
            let signal =
                Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |s| s.to_string());
            CommandEnd::Killed { signal }
        }
        (None, None) => CommandEnd::NotStarted { reason: format!("it is lost: {status}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a line of the shell.
    fn shell(line: &str, timeout: Duration) -> (CommandEnd, String, Duration) {
        let (_keep, end) = watch::channel(None);
        shell_until(line, timeout, end)
    }

    fn shell_until(line: &str, timeout: Duration, end: End) -> (CommandEnd, String, Duration) {
        let argv = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        let order = Run { id: 1, argv, env: vec![("GIVEN".into(), "yes".into())], timeout };
        let start = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (how, last) = runtime.block_on(run(&order, end, |_| ()));
        (how, last, start.elapsed())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn how_a_program_ends_is_told() {
        let table = [
            ("echo out; echo $GIVEN >&2", CommandEnd::Exited { code: 0 }, "yes"),
            ("echo bad; exit 3", CommandEnd::Exited { code: 3 }, "bad"),
            ("kill -KILL $$", CommandEnd::Killed { signal: "SIGKILL".into() }, ""),
            // Signals are not ignored as they are in a role.
            ("kill -TERM $$; sleep 60", CommandEnd::Killed { signal: "SIGTERM".into() }, ""),
            // What stays behind with the pipe keeps nobody waiting.
            ("sleep 60 & echo $!", CommandEnd::Exited { code: 0 }, ""),
            // More than a pipe holds.
            (
                "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; echo last",
                CommandEnd::Exited { code: 0 },
                "last",
            ),
        ];
        for (line, expect, last) in table {
            let (how, output, took) = shell(line, LONG);
            assert_eq!(how, expect, "{line}");
            assert!(output == last || line.starts_with("sleep"), "{line}: {output:?}");
            assert!(took < LONG / 2, "{line}");
            if line.starts_with("sleep") {
                let left: u32 = output.parse().unwrap();
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(left as i32), Signal::SIGKILL).unwrap();
            }
        }
        let order = Run { id: 1, argv: vec!["/no/such".into()], env: vec![], timeout: LONG };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_keep, end) = watch::channel(None);
        let (how, _) = runtime.block_on(run(&order, end, |_| ()));
        assert!(matches!(how, CommandEnd::NotStarted { .. }), "{how:?}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_has_started() {
        let quick = Duration::from_millis(100);
        // It prints the number of a child that it leaves in its group.
        for (line, at_least) in [
            ("sleep 30 & echo $!; wait", quick),
            // Deaf to SIGTERM, both of them.
            ("trap '' TERM; sleep 30 & echo $!; for i in 1 2 3 4 5 6; do sleep 5; done", quick + GRACE),
        ] {
            let (how, child, took) = shell(line, quick);
            assert!(matches!(how, CommandEnd::TimedOut { .. }), "{line}: {how:?}");
            assert!(took >= at_least && took < LONG / 3, "{line}: {took:?}");
            let state = format!("/proc/{child}/stat");
            let is_gone = || std::fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z "));
            let start = Instant::now();
            while !is_gone() {
                assert!(start.elapsed() < LONG, "{line}: {child} lives on");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Of a container that is paused, for one.
    #[test]
    fn a_stall_of_this_process_is_no_timeout() {
        let (timeout, stall) = (Duration::from_secs(1), Duration::from_millis(1500));
        for line in ["true", "sleep 1.8"] {
            let argv = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
            let order = Run { id: 1, argv, env: vec![], timeout };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (_keep, end) = watch::channel(None);
            let stalls = async {
                tokio::task::yield_now().await;
                std::thread::sleep(stall);
            };
            let ((how, _), ()) = runtime.block_on(async { tokio::join!(run(&order, end, |_| ()), stalls) });
            assert_eq!(how, CommandEnd::Exited { code: 0 }, "{line}");
        }
    }

    #[test]
    fn a_stop_shortens_what_is_left() {
        let all = Instant::now() + GRACE_AT_STOP * 2;
        let (_keep, end) = watch::channel(Some(Deadline { running: all, all }));
        let (how, _, took) = shell_until("trap '' TERM; for i in 1 2 3 4 5 6; do sleep 5; done", LONG, end);
        assert!(matches!(how, CommandEnd::TimedOut { .. }), "{how:?}");
        assert!(took >= GRACE_AT_STOP && took < LONG / 3, "{took:?}");
    }
}
