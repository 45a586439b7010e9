//! Has a configuration read by a process of its own, which can do nothing else.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::daemon::link::Link;
use crate::daemon::role::Role;
use crate::link::loading::{FromLoader, ToLoader};
use crate::os::snapshot::Snapshot;
use crate::os::{descriptor, process};

/// A document of 1 MiB takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is in `snapshot`, or everything that is wrong with it. The process is reaped by whoever reaps.
pub(super) async fn load(snapshot: &Snapshot) -> FromLoader {
    let text = match String::from_utf8(snapshot.bytes.clone()) {
        Ok(text) => text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let problems =
                format!("{}: is not UTF-8 at byte {at}: save it as UTF-8", snapshot.path.display());
            return FromLoader::Refused { problems };
        }
    };
    let folder = snapshot.path.parent().unwrap_or(Path::new("/"));
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let document = ToLoader { name: snapshot.path.display().to_string(), folder, text };
    ask(&document).await.unwrap_or_else(|error| FromLoader::Refused {
        problems: format!("{}: cannot be examined: {error}", document.name),
    })
}

async fn ask(document: &ToLoader) -> io::Result<FromLoader> {
    let (near, far) = descriptor::pair()?;
    let mut link = Link::<ToLoader, FromLoader>::from_fd(near)?;
    let pid = process::spawn(&["role", Role::Config.name()], far)?;
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
