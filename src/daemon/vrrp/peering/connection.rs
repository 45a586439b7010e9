//! The tasks of the link: one that accepts, one per attempt to greet, one per connection. Each ends by itself within a
//! bound, or with the connection, and tells the role's event loop what came of it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::super::lateness::Load;
use super::auth_hmac::FoundFiles;
use super::clients::Look;
use super::keys::Found;
use super::roster::Pairing;
use crate::net::InterfaceName;
use crate::peer::{
    Connection, Ends, Failure, Frames, Greeted, HELLO, Keys, Message, Node, Nonce, Opener, Refusal, Sealer,
    Secret, Session, accept, greet,
};

/// For both greetings; a process that runs needs a fraction of it.
const GREETING_PATIENCE: Duration = Duration::from_secs(1);
/// A connection that this side has ended is read to its end, so that the last words are not lost to a reset.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What was sent and is not acknowledged for so long is lost, with the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted: of a handful of peers, and of whoever else tries.
const BACKLOG: i32 = 64;
/// Nothing can be accepted: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the event loop learns.
#[derive(Debug)]
pub(in super::super) enum Event {
    Accepted {
        own: IpAddr,
        peer: IpAddr,
        stream: TcpStream,
    },
    /// Somebody who is no peer.
    Stranger,
    Dialled {
        own: IpAddr,
        peer: IpAddr,
        result: Result<Box<Meeting>, Failure>,
    },
    Answered {
        own: IpAddr,
        peer: IpAddr,
        result: Result<Box<Meeting>, Refusal>,
    },
    Message(Connection, Message),
    /// Of a kind that a later version has.
    Unknown,
    Ended(Connection, Result<(), Refusal>),
    /// Of this node's own.
    Keys(Found),
    /// Of `auth_hmac`.
    KeyFiles(FoundFiles),
    Load(Load),
    /// At the connections of clients.
    Looked(Look),
}

/// A connection over which both sides have shown what they have.
#[derive(Debug)]
pub(in super::super) struct Meeting {
    pub(super) stream: TcpStream,
    pub(super) greeted: Greeted,
    pub(super) frames: Frames,
    /// What whoever dialled has said to show that it lives.
    pub(super) first: Option<Message>,
}

/// What this node brings to a greeting.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) keys: Keys,
    pub(super) node: Node,
    pub(super) nonce: Nonce,
}

impl Credentials {
    fn secret(&self) -> Secret<'_> {
        Secret { keys: &self.keys, node: self.node, nonce: self.nonce }
    }
}

/// Where a connection begins and ends.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) own: IpAddr,
    pub(super) peer: IpAddr,
    pub(super) interface: InterfaceName,
    pub(super) port: u16,
}

/// A socket that hears and reaches this interface only, so that a link-local address needs nothing beside it.
fn socket(interface: &InterfaceName, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(interface.as_str().as_bytes()))?;
    socket.bind(&address.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(USER_TIMEOUT))?;
    Ok(socket)
}

pub(super) fn listen(own: IpAddr, port: u16, interface: &InterfaceName) -> io::Result<TcpListener> {
    let socket = socket(interface, SocketAddr::new(own, port))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Who may come in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) peers: BTreeSet<Pairing>,
    /// Own addresses at which everybody may try.
    pub(super) open: BTreeSet<IpAddr>,
}

/// Until it is aborted.
pub(super) async fn accept_all(
    listener: TcpListener,
    own: IpAddr,
    admitted: watch::Receiver<Admitted>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let event = match listener.accept().await {
            Ok((stream, peer)) if admits(&admitted.borrow(), (own, peer.ip())) => {
                Event::Accepted { own, peer: peer.ip(), stream }
            }
            Ok(_) => Event::Stranger,
            Err(error) => {
                tracing::debug!("the link cannot accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

fn admits(admitted: &Admitted, (own, peer): Pairing) -> bool {
    admitted.open.contains(&own) || admitted.peers.contains(&(own, peer))
}

pub(super) async fn dial(
    route: &Route,
    ours: &Credentials,
    patience: Duration,
) -> Result<Box<Meeting>, Failure> {
    let to = SocketAddr::from((route.peer, route.port));
    let socket = socket(&route.interface, SocketAddr::new(route.own, 0)).map_err(|_| Failure::Local)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut stream = match timeout(patience, socket.connect(to)).await {
        Err(_) => return Err(Failure::Unanswered),
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(match error.kind() {
                io::ErrorKind::ConnectionRefused => Failure::Refused,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Failure::Unreachable,
                io::ErrorKind::TimedOut => Failure::Unanswered,
                io::ErrorKind::ConnectionReset => Failure::HungUp,
                _ => Failure::Local,
            });
        }
    };
    let ends = Ends { dialler: route.own, listener: route.peer };
    let (question, opening) = greet(&ours.secret(), ends).ok_or(Failure::Local)?;
    let mut answer = [0; HELLO];
    let exchanged = timeout(patience, async {
        stream.write_all(&question).await?;
        stream.read_exact(&mut answer).await
    });
    match exchanged.await {
        Err(_) => Err(Failure::Silent),
        Ok(Err(_)) => Err(Failure::HungUp),
        Ok(Ok(_)) => match opening.finish(&ours.secret(), &answer) {
            Ok(greeted) => Ok(Box::new(Meeting { stream, greeted, frames: Frames::default(), first: None })),
            Err(refusal) => Err(Failure::Refusal(refusal)),
        },
    }
}

/// Whoever has dialled lives only once its first frame has come: a greeting can be repeated by anybody.
pub(super) async fn answer(
    mut stream: TcpStream,
    ends: Ends,
    ours: &Credentials,
) -> Result<Box<Meeting>, Refusal> {
    let mut question = [0; HELLO];
    let mut frames = Frames::default();
    let greeting = async {
        stream.read_exact(&mut question).await.map_err(|_| Refusal::Truncated)?;
        let accepted = accept(&ours.secret(), ends, &question)?;
        stream.write_all(&accepted.answer).await.map_err(|_| Refusal::Truncated)?;
        let mut greeted = accepted.greeted;
        loop {
            if let Some(frame) = frames.take()? {
                let (kind, payload) = greeted.session.opener.open(frame)?;
                return Ok((greeted, Message::parse(kind, payload)?));
            }
            match stream.read(frames.space()).await {
                Ok(0) | Err(_) => return Err(Refusal::Truncated),
                Ok(n) => frames.filled(n),
            }
        }
    };
    match timeout(GREETING_PATIENCE, greeting).await {
        Err(_) => Err(Refusal::Late),
        Ok(Err(refusal)) => Err(refusal),
        Ok(Ok((greeted, first))) => Ok(Box::new(Meeting { stream, greeted, frames, first })),
    }
}

/// Until either side ends it; `outgoing` is closed by this side to end it in good order.
pub(super) async fn converse(
    connection: Connection,
    meeting: Box<Meeting>,
    outgoing: mpsc::Receiver<Message>,
    events: mpsc::Sender<Event>,
) {
    let (from, to) = meeting.stream.into_split();
    let Session { sealer, opener } = meeting.greeted.session;
    let reading = read(connection, from, meeting.frames, opener, events.clone());
    tokio::pin!(reading);
    let end = tokio::select! {
        end = &mut reading => end,
        () = write(to, sealer, outgoing) => timeout(LAST_WORDS, reading).await.unwrap_or(Ok(())),
    };
    // With the receiver the role is gone, and whoever wanted to know.
    let _ = events.send(Event::Ended(connection, end)).await;
}

async fn read(
    connection: Connection,
    mut from: OwnedReadHalf,
    mut frames: Frames,
    mut opener: Opener,
    events: mpsc::Sender<Event>,
) -> Result<(), Refusal> {
    loop {
        while let Some(frame) = frames.take()? {
            let (kind, payload) = opener.open(frame)?;
            let event = match Message::parse(kind, payload)? {
                Some(message) => Event::Message(connection, message),
                None => Event::Unknown,
            };
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
        match from.read(frames.space()).await {
            Ok(0) => return frames.finish(),
            Ok(n) => frames.filled(n),
            Err(_) => return Ok(()),
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut sealer: Sealer, mut outgoing: mpsc::Receiver<Message>) {
    while let Some(message) = outgoing.recv().await {
        let (kind, payload) = message.emit();
        let Some(frame) = sealer.seal(kind, &payload) else { continue };
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
    // The reading side sees how that went.
    let _ = to.shutdown().await;
}
