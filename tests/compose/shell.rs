//! Other programs, and waiting for what they bring about.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What went wrong, for a person.
pub(crate) type Trouble = String;

/// Runs a program to its end: what it printed, or what it said when it failed.
pub(crate) fn run<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String, Trouble> {
    finish(Command::new(program).args(arguments))
}

pub(crate) fn finish(command: &mut Command) -> Result<String, Trouble> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        Err(format!("{command:?}: {}\n{out}\n{err}", output.status).trim().to_owned())
    }
}

/// Asks `condition` every `every` until it holds; its last complaint once `limit` has passed.
pub(crate) fn until<T>(
    limit: Duration,
    every: Duration,
    mut condition: impl FnMut() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let started = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(trouble) if started.elapsed() >= limit => {
                return Err(format!("after {:.1} s: {trouble}", started.elapsed().as_secs_f64()));
            }
            Err(_) => std::thread::sleep(every),
        }
    }
}

/// A number that two runs do not share.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
