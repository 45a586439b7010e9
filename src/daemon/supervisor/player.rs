//! A process that plays a role, and the tasks that write to it and listen to it.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::sockets::Group;
use crate::config::KEY_VARIABLE;
use crate::daemon::link::{Link, Sender};
use crate::link::{FromProxy, FromRunner, FromVrrp};
use crate::os::{descriptor, process};
use crate::supervision::{Player, RoleName};

/// Messages that wait for a role to read them. A configuration brings one for each address and worker; a role that
/// lets this many pile up hangs.
const MAX_UNREAD: usize = 8192;

/// A process that dies closes its link a moment before it can be reaped, and how it died is better to know than that
/// its link has ended. This is for one that lives on without it.
const LAST_MOMENT: Duration = Duration::from_millis(50);

/// What was heard from a role.
#[derive(Debug)]
pub(super) enum Heard {
    Proxy(Player, FromProxy),
    Vrrp(Player, FromVrrp),
    Runner(Player, FromRunner),
    /// What became of the order of that number, for the vrrp role.
    Outcome(Player, u64, Result<String, String>),
    Lost(Player, String),
}

/// A message; the listening socket that goes with it, by its group and its place in it.
type Order<Tx> = (Tx, Option<(Group, usize)>);

/// PID 1's end. Dropping it closes the link.
#[derive(Debug)]
pub(super) struct Stage<Tx> {
    pub(super) pid: u32,
    orders: mpsc::Sender<Order<Tx>>,
    tasks: [AbortHandle; 2],
}

impl<Tx: Serialize + Send + Sync + 'static> Stage<Tx> {
    pub(super) fn open<Rx: DeserializeOwned + Send + 'static>(
        player: Player,
        heard: mpsc::Sender<Heard>,
        wrap: fn(Player, Rx) -> Heard,
    ) -> io::Result<Self> {
        let (near, far) = descriptor::pair()?;
        let link = Link::<Tx, Rx>::from_fd(near)?;
        // One talks to everybody, the other starts what the user has written; neither has a use for it.
        let hidden = match player.role {
            RoleName::Proxy | RoleName::Runner => Some(KEY_VARIABLE),
            RoleName::Vrrp => None,
        };
        let pid = process::spawn(&["role", &player.role.to_string()], far, hidden)?;
        let (orders, queue) = mpsc::channel(MAX_UNREAD);
        let tasks = [
            tokio::spawn(write(link.sender(), queue, player, heard.clone())).abort_handle(),
            tokio::spawn(listen(link, player, heard, wrap)).abort_handle(),
        ];
        Ok(Self { pid, orders, tasks })
    }

    /// Never waits: an error means that the role does not read what it is sent.
    pub(super) fn order(&self, message: Tx, socket: Option<(Group, usize)>) -> Result<(), String> {
        match self.orders.try_send((message, socket)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(format!("hangs: has left {MAX_UNREAD} messages unread"))
            }
            // The writer has reported why.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

impl<Tx> Drop for Stage<Tx> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn write<Tx: Serialize>(
    sender: Sender<Tx>,
    mut queue: mpsc::Receiver<Order<Tx>>,
    player: Player,
    heard: mpsc::Sender<Heard>,
) {
    while let Some((message, socket)) = queue.recv().await {
        let fd = socket.as_ref().and_then(|(group, i)| group.get(*i)).map(|fd| fd.as_fd());
        if let Err(error) = sender.send(&message, fd).await {
            let is_end = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
            // The end of the link is found by the other task as well. Anything else is not: a message that is too
            // long, no descriptor left for the copy of a socket.
            if !is_end {
                // With the receiver PID 1 itself is gone.
                let _ = heard.send(Heard::Lost(player, format!("cannot be told: {error}"))).await;
            }
            return;
        }
    }
}

async fn listen<Tx: Serialize, Rx: DeserializeOwned>(
    mut link: Link<Tx, Rx>,
    player: Player,
    heard: mpsc::Sender<Heard>,
    wrap: fn(Player, Rx) -> Heard,
) {
    loop {
        let said = match link.receive().await {
            // No role has a descriptor to give; one that comes is closed here.
            Ok(Some((message, _))) => wrap(player, message),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Heard::Lost(player, format!("cannot be understood: {error}"))
            }
            Ok(None) | Err(_) => {
                tokio::time::sleep(LAST_MOMENT).await;
                Heard::Lost(player, "has closed its link".into())
            }
        };
        let is_last = matches!(said, Heard::Lost(..));
        if heard.send(said).await.is_err() || is_last {
            return;
        }
    }
}
