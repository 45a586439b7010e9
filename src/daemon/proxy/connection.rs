//! The life of one client connection: wait without a buffer, exchange, wait again.

use super::client::{Client, Waited};
use super::exchange::{Outcome, exchange};
use super::limits::{IDLE_GRACE, IDLE_LINGER, LINGER_SLICE, PIPELINED_PER_TURN};
use super::worker::Worker;

/// How a busy spell of a connection ended.
enum Spell {
    /// The client has been silent for a while.
    Idle,
    Close,
    /// Close once the client has had time to read the answer.
    Linger,
    /// Close without a request, and without a reset for one that may be on its way.
    Unwanted,
    Reset,
}

pub(super) async fn run(worker: &Worker, client: &Client) {
    loop {
        // Boxed: a connection that has been silent for a while holds nothing of this.
        match Box::pin(spell(worker, client)).await {
            Spell::Idle => (),
            Spell::Close if !client.is_leaving() => return,
            Spell::Linger => return Box::pin(client.linger(worker, LINGER_SLICE)).await,
            Spell::Close | Spell::Unwanted => return Box::pin(client.linger(worker, IDLE_LINGER)).await,
            Spell::Reset => return client.reset(),
        }
        let bound = client.limits.get().keepalive_timeout.saturating_sub(IDLE_GRACE);
        match client.has_request(worker, bound).await {
            Waited::Readable => (),
            Waited::Unwanted => return Box::pin(client.linger(worker, IDLE_LINGER)).await,
            Waited::TimeUp | Waited::Over => return,
        }
    }
}

/// One request after the other, for as long as they follow each other closely.
async fn spell(worker: &Worker, client: &Client) -> Spell {
    let (mut pipelined, mut served) = (None, 0u32);
    loop {
        match exchange(worker, client, pipelined.take()).await {
            Outcome::Next(Some(input)) => {
                pipelined = Some(input);
                served += 1;
                // What lies here already waits for nobody: without this it would hold up the other connections.
                if served % PIPELINED_PER_TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Outcome::Next(None) => {
                let bound = client.limits.get().keepalive_timeout.min(IDLE_GRACE);
                match client.has_request(worker, bound).await {
                    Waited::Readable => (),
                    Waited::TimeUp => return Spell::Idle,
                    Waited::Unwanted => return Spell::Unwanted,
                    Waited::Over => return Spell::Close,
                }
            }
            Outcome::Close => return Spell::Close,
            Outcome::Linger => return Spell::Linger,
            Outcome::Reset => return Spell::Reset,
        }
    }
}
