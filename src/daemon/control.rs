//! The asker's end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use crate::link::control::{Answer, MAX_ANSWER, Request};

/// PID 1 asks its roles for their reports, and waits at most 200 ms for them.
const PATIENCE: Duration = Duration::from_secs(2);
/// A wish may have to wait until connections have ended, for the longest `drain_timeout`, and for a peer.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(3610);

/// The control socket's abstract address: `@vipgate` and the suffix that tells several vipgates of one network
/// namespace apart.
pub fn address(suffix: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("vipgate{suffix}"))
}

/// Asks the vipgate that runs in this network namespace.
pub fn ask(suffix: &str, request: &Request) -> io::Result<Answer> {
    let mut socket = UnixStream::connect_addr(&address(suffix)?)?;
    let patience = match request {
        Request::Status => PATIENCE,
        Request::Wish(_) => ANSWER_PATIENCE,
    };
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    match socket.write_all(&line) {
        // Refused unheard: the answer says why.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => (),
        sent => sent?,
    }
    let mut answer = vec![];
    BufReader::new(socket.take(MAX_ANSWER as u64)).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
    }
    Ok(serde_json::from_slice(&answer)?)
}
