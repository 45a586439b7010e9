//! Has a configuration read by a process of its own, which can do nothing else.

use std::io;
use std::time::Duration;

use crate::daemon::link::Link;
use crate::daemon::role::Role;
use crate::link::loading::{FromLoader, ToLoader};
use crate::os::snapshot::Snapshot;
use crate::os::{descriptor, process};

/// A document of 1 MiB takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is in `snapshot`, or everything that is wrong with it. The process is reaped by whoever reaps. The error, ready
/// to be read, says nothing about the text.
pub(super) async fn load(snapshot: &Snapshot) -> Result<FromLoader, String> {
    let document = ToLoader { path: snapshot.path.clone(), bytes: snapshot.bytes.clone() };
    ask(&document).await.map_err(|error| format!("{}: cannot be examined: {error}", document.path.display()))
}

async fn ask(document: &ToLoader) -> io::Result<FromLoader> {
    let (near, far) = descriptor::pair()?;
    let mut link = Link::<ToLoader, FromLoader>::from_fd(near)?;
    let pid = process::spawn(&["role", Role::Config.name()], far, None)?;
    let answer = async {
        link.send(document, None).await?;
        link.receive().await
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(Some((answer, _)))) => Ok(answer),
        Ok(Ok(None)) => Err(io::Error::other("the process that reads it ended without an answer")),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            // Its end of the link is still open, so that it lives and its number is its own.
            process::kill_child(pid)?;
            Err(io::Error::other(format!("it takes longer than {PATIENCE:?}")))
        }
    }
}
