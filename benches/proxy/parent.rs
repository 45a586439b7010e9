//! PID 1's place for a proxy role that is started by itself, behind valgrind.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use vipgate::config::{self, Source};
use vipgate::daemon::link::Link;
use vipgate::link::{FromProxy, Generation, ToProxy};
use vipgate::os::{descriptor, listener};

use crate::client::PATIENCE;
use crate::process::{Core, Running, spawn_on};

pub(crate) struct Role {
    runtime: tokio::runtime::Runtime,
    link: Option<Link<ToProxy, FromProxy>>,
    running: Running,
    pub(crate) address: SocketAddr,
}

/// Starts `prefix binary role proxy` with one worker, and waits until it serves what `config` says for its address.
pub(crate) fn start(
    binary: &Path,
    prefix: &[String],
    core: Core,
    config: impl FnOnce(SocketAddr) -> String,
) -> io::Result<Role> {
    let socket = listener::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = TcpListener::from(socket.try_clone()?).local_addr()?;
    let source = Source { name: "vipgate.yaml".into(), folder: "/".into(), text: config(address) };
    let config =
        config::load(&source, &|_| None).map_err(|problems| io::Error::other(problems.to_string()))?;

    let (ours, theirs) = descriptor::pair()?;
    let mut words = prefix.iter().cloned().chain([binary.display().to_string()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).args(["role", "proxy", "--without-filter"]);
    command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running::new(spawn_on(core, &mut command)?);
    // It holds the other end of the link.
    drop(command);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let link = runtime.block_on(async { Link::from_fd(ours) })?;
    let mut role = Role { runtime, link: Some(link), running, address };
    let generation = Generation(1);
    role.exchange(async |link| {
        link.send(&ToProxy::Listener { address, worker: 0 }, Some(socket.as_fd())).await?;
        let config = Box::new(config.config.clone());
        link.send(&ToProxy::Prepare { generation, workers: 1, config }, None).await?;
        expect(link, FromProxy::Prepared { generation }).await?;
        link.send(&ToProxy::Commit { generation }, None).await?;
        expect(link, FromProxy::Serving { generation }).await
    })?;
    Ok(role)
}

/// Passes over what else the role says.
async fn expect(link: &mut Link<ToProxy, FromProxy>, wanted: FromProxy) -> io::Result<()> {
    loop {
        match link.receive().await? {
            Some((message, _)) if message == wanted => return Ok(()),
            Some((FromProxy::Refused { reason, .. }, _)) => return Err(io::Error::other(reason)),
            Some(_) => (),
            None => return Err(io::Error::other("the role ended before it served")),
        }
    }
}

impl Role {
    fn exchange<'a, F: Future<Output = io::Result<()>>>(
        &'a mut self,
        talk: impl FnOnce(&'a mut Link<ToProxy, FromProxy>) -> F,
    ) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        self.runtime.block_on(async {
            let late = |_| io::Error::other("the role does not answer");
            tokio::time::timeout(PATIENCE, talk(link)).await.map_err(late)?
        })
    }

    /// Closes the link, as PID 1 does when it ends, and waits until the role has left.
    pub(crate) fn hang_up(mut self) -> io::Result<()> {
        self.link = None;
        self.running.left()
    }
}
