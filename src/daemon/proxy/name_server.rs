//! One question to one name server: over UDP, and over TCP where the answer does not fit (RFC 7766 section 5). A
//! socket per try, so that the kernel draws a new port and takes answers from nobody else (RFC 5452 section 9.2).

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::counters::{Count, Vitals};
use super::limits::STRAY_ANSWERS_MAX;
use crate::dns::{Answer, Question, read};

/// Without EDNS an answer has at most 512 bytes; a server that sends more is read all the same.
const DATAGRAM_MAX: usize = 4096;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Mute {
    /// Perhaps the next time.
    Silent,
    /// Not this server.
    Refused(String),
}

impl From<io::Error> for Mute {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// What `server` says to `question` until `end`.
pub(super) async fn ask(
    server: SocketAddr,
    question: &Question,
    end: Instant,
    vitals: &Arc<Vitals>,
) -> Result<Answer, Mute> {
    vitals.count(Count::NameQueries);
    let by_udp = timeout_at(end, over_udp(server, question, vitals)).await.unwrap_or(Err(Mute::Silent))?;
    let answer = match by_udp {
        Answer::Truncated => {
            vitals.count(Count::NameQueries);
            timeout_at(end, over_tcp(server, question, vitals)).await.unwrap_or(Err(Mute::Silent))?
        }
        answer => answer,
    };
    match answer {
        Answer::Truncated => Err(Mute::Refused("the answer is truncated even over TCP".into())),
        Answer::Failed(why) => Err(Mute::Refused(why)),
        answer @ (Answer::Addresses { .. } | Answer::NoAddress | Answer::NoSuchName) => Ok(answer),
    }
}

async fn over_udp(server: SocketAddr, question: &Question, vitals: &Vitals) -> Result<Answer, Mute> {
    let socket = UdpSocket::bind(any(server)).await?;
    socket.connect(server).await?;
    let id = random_id();
    socket.send(&question.encode(id)).await?;
    let mut buffer = [0; DATAGRAM_MAX];
    for _ in 0..STRAY_ANSWERS_MAX {
        let length = socket.recv(&mut buffer).await?;
        match read(buffer.get(..length).unwrap_or_default(), id, question) {
            Ok(answer) => return Ok(answer),
            Err(ignored) => {
                vitals.count(Count::NameAnswersIgnored);
                tracing::debug!(%server, "answer ignored: {ignored}");
            }
        }
    }
    Err(Mute::Refused("answers to what was not asked".into()))
}

async fn over_tcp(server: SocketAddr, question: &Question, vitals: &Vitals) -> Result<Answer, Mute> {
    let mut stream = TcpStream::connect(server).await?;
    let id = random_id();
    let query = question.encode(id);
    let length = u16::try_from(query.len()).unwrap_or_default();
    stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    read(&bytes, id, question).map_err(|ignored| {
        vitals.count(Count::NameAnswersIgnored);
        Mute::Refused(format!("its answer over TCP: {ignored}"))
    })
}

fn any(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// The standard library seeds its hashers from the kernel's random numbers, so that nobody can guess what they make of
/// nothing.
fn random_id() -> u16 {
    let [a, b, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    u16::from_ne_bytes([a, b])
}

/// Whether the kernel would know where to send to `address`: connecting a UDP socket asks it and sends nothing.
pub(super) async fn has_route(address: SocketAddr) -> bool {
    match UdpSocket::bind(any(address)).await {
        Ok(socket) => socket.connect(address).await.is_ok(),
        Err(_) => false,
    }
}
