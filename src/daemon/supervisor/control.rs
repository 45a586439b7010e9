//! The answering end of the control socket: who may ask, how much and for how long.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::daemon::control::{ANSWER_PATIENCE, address};
use crate::link::control::{Answer, MAX_REQUEST, Request};

/// Askers at the same time; more of them wait.
const MAX_ASKERS: usize = 16;
/// For what the asker says, and for its reading of the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request and the way back to whoever asked.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// Listens on the control socket of this network namespace.
pub(super) fn listen(suffix: &str) -> io::Result<UnixListener> {
    let listener = std::os::unix::net::UnixListener::bind_addr(&address(suffix)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

pub(super) async fn serve(listener: UnixListener, asks: mpsc::Sender<Ask>) {
    let places = Arc::new(Semaphore::new(MAX_ASKERS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!("the control socket cannot accept: {error}");
                // Descriptors come free when somebody leaves.
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
        };
        let asks = asks.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(socket, asks).await {
                tracing::debug!("the control socket: {error}");
            }
            drop(place);
        });
    }
}

async fn converse(mut socket: UnixStream, asks: mpsc::Sender<Ask>) -> io::Result<()> {
    let answer = match admitted(&socket) {
        Ok(()) => answer(&mut socket, asks).await?,
        Err(reason) => Answer::Refused { reason },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    within(PATIENCE, socket.write_all(&line)).await
}

/// An abstract socket has no file mode: whoever shares the network namespace reaches it.
fn admitted(socket: &UnixStream) -> Result<(), String> {
    let uid = socket.peer_cred().map_err(|e| format!("cannot tell who asks: {e}"))?.uid();
    let own = nix::unistd::geteuid().as_raw();
    if uid == 0 || uid == own {
        return Ok(());
    }
    Err(format!("user {uid} may not ask: only root and user {own}"))
}

async fn answer(socket: &mut UnixStream, asks: mpsc::Sender<Ask>) -> io::Result<Answer> {
    let mut line = vec![];
    let mut reader = BufReader::new(socket).take(MAX_REQUEST as u64);
    within(PATIENCE, reader.read_until(b'\n', &mut line)).await?;
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return Ok(Answer::Refused { reason: format!("not a request: {error}") }),
    };
    let (reply, answer) = oneshot::channel();
    if asks.send(Ask { request, reply }).await.is_err() {
        return Ok(Answer::Refused { reason: "vipgate is stopping".into() });
    }
    within(ANSWER_PATIENCE, async { answer.await.map_err(|_| io::Error::other("vipgate is stopping")) }).await
}

async fn within<T>(bound: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(bound, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
