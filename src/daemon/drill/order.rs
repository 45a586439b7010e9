//! One order on a connection of its own, as `crate::peer` has it, and what came back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::os::random;
use crate::peer::{Ends, Frames, HELLO, Keys, Message, Node, Order, Outcome, Secret, State, greet};

/// For a connection and for the greeting; a node that runs needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever gives orders: a process with the key.
#[derive(Clone, Debug)]
pub(super) struct Giver {
    keys: Keys,
    node: Node,
}

impl Giver {
    pub(super) fn new(keys: Keys) -> io::Result<Self> {
        Ok(Self { keys, node: random::bytes()? })
    }

    /// How is it? Or why it does not say.
    pub(super) async fn look(&self, at: SocketAddr) -> Result<State, String> {
        match self.give(at, Order::Look, PATIENCE).await? {
            Message::State(state) => Ok(*state),
            Message::Outcome(Outcome { text, .. }) => Err(text),
            _ => Err(NO_ANSWER.to_owned()),
        }
    }

    pub(super) async fn order(
        &self,
        at: SocketAddr,
        order: Order,
        bound: Duration,
    ) -> Result<String, String> {
        match self.give(at, order, bound).await? {
            Message::Outcome(Outcome { done: true, text }) => Ok(text),
            Message::Outcome(Outcome { done: false, text }) => Err(text),
            _ => Err(NO_ANSWER.to_owned()),
        }
    }

    async fn give(&self, at: SocketAddr, order: Order, bound: Duration) -> Result<Message, String> {
        let hung_up = |_: io::Error| HUNG_UP.to_owned();
        let mut stream = match timeout(PATIENCE, TcpStream::connect(at)).await {
            Err(_) => return Err("it does not answer".to_owned()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(format!("nobody listens at port {}: is its link on?", at.port()));
            }
            Ok(connected) => connected.map_err(|error| format!("there is no way to it: {error}"))?,
        };
        let own = stream.local_addr().map_err(|error| error.to_string())?.ip();
        let nonce = random::bytes().map_err(|error| error.to_string())?;
        let secret = Secret { keys: &self.keys, node: self.node, nonce };
        let ends = Ends { dialler: own, listener: at.ip() };
        let (question, opening) = greet(&secret, ends).ok_or_else(|| "the key cannot be used".to_owned())?;
        let mut answer = [0; HELLO];
        let exchange = async {
            stream.write_all(&question).await?;
            stream.read_exact(&mut answer).await
        };
        let exchanged = timeout(PATIENCE, exchange).await;
        exchanged.map_err(|_| "it accepts a connection and says nothing".to_owned())?.map_err(hung_up)?;
        let greeted = opening.finish(&secret, &answer).map_err(|refusal| refusal.to_string())?;
        let mut session = greeted.session;
        let (kind, payload) = Message::Order(order).emit();
        let frame = session.sealer.seal(kind, &payload).ok_or_else(|| "the order is too long".to_owned())?;
        stream.write_all(&frame).await.map_err(hung_up)?;
        let mut frames = Frames::default();
        let answer = async {
            loop {
                if let Some(frame) = frames.take().map_err(|refusal| refusal.to_string())? {
                    let (kind, payload) =
                        session.opener.open(frame).map_err(|refusal| refusal.to_string())?;
                    let message = Message::parse(kind, payload).map_err(|refusal| refusal.to_string())?;
                    return message.ok_or_else(|| NO_ANSWER.to_owned());
                }
                match stream.read(frames.space()).await.map_err(hung_up)? {
                    0 => return Err("it hangs up without an answer".to_owned()),
                    n => frames.filled(n),
                }
            }
        };
        timeout(bound, answer).await.unwrap_or_else(|_| Err(format!("it has not answered within {bound:?}")))
    }
}

const NO_ANSWER: &str = "its answer is not one to this order";
const HUNG_UP: &str = "it hangs up without a greeting: `link: {drill: true}` is not in its configuration, or it has another key";
