//! The life of one client connection: wait without a buffer, exchange, wait again.

use super::client::Client;
use super::exchange::{Outcome, exchange};
use super::worker::Worker;

pub(super) async fn run(worker: &Worker, mut client: Client) {
    let mut first = true;
    let mut pipelined = None;
    loop {
        if pipelined.is_none() && !client.has_request(first).await {
            return;
        }
        first = false;
        let input = pipelined.take().unwrap_or_else(|| worker.buffers.take());
        // Boxed: a connection that waits for its next request holds nothing of this.
        let outcome = Box::pin(exchange(worker, &mut client, input)).await;
        match outcome {
            Outcome::Next(input) => pipelined = input,
            Outcome::Close => return,
            Outcome::Linger => return client.linger().await,
            Outcome::Reset => return client.reset(),
        }
    }
}
