//! A request that an upstream answers: tries, and what comes after each of them.

use std::rc::Rc;
use std::time::Instant;

use tokio::time::sleep;

use super::attempt::{End, Start, attempt};
use super::buffers::Lent;
use super::client::{Client, unless_gone};
use super::counters::Count;
use super::exchange::{Outcome, Request, own};
use super::pool::Pool;
use super::respond::Reply;
use super::snapshot::Group;
use super::worker::{View, Worker};
use crate::balance::{Attempt, Failure, Next, Progress, Retry};
use crate::gateway::Site;
use crate::http1::BodyDecoder;

/// One request on its way.
pub(super) struct Call<'a, 'w> {
    pub(super) worker: &'w Worker,
    pub(super) view: &'a View,
    pub(super) site: &'a Site,
    /// Its place in the configuration.
    pub(super) upstream: usize,
    pub(super) request: &'a Request,
    /// As the upstream gets it, together with what came along of the body.
    pub(super) head: &'a mut Vec<u8>,
    pub(super) body: &'a mut BodyDecoder,
}

pub(super) async fn forward<'w>(
    mut call: Call<'_, 'w>,
    client: &mut Client,
    mut input: Lent<'w>,
) -> Outcome<'w> {
    let place = call.view.pools.get(call.upstream).zip(call.view.snapshot.upstreams.get(call.upstream));
    let Some((pool, group)) = place else { return give_up(call, client, 502, input).await };
    let mut retry = Retry::default();
    let begun = Instant::now();
    let mut choice = pool.pick(group, None);
    let mut reuse = true;
    loop {
        let Some((place, address)) = choice else {
            call.worker.vitals.count(Count::NoUpstream);
            return give_up(call, client, 503, input).await;
        };
        let started = Instant::now();
        let start = Start { group, pool, address, reuse };
        let failed = match attempt(&mut call, client, &mut input, start).await {
            End::Answered { status, close } => {
                call.request.log(client, status, &group.config.name);
                return match close {
                    // The client closes, as it said, and sends nothing more.
                    true if !call.request.keep_alive && call.body.is_done() && input.is_empty() => {
                        Outcome::Close
                    }
                    true => Outcome::Linger,
                    false => Outcome::Next((!input.is_empty()).then_some(input)),
                };
            }
            End::Failed(failed) => failed,
            End::Refuse(status) => {
                match status {
                    413 => call.worker.vitals.count(Count::BodyTooLarge),
                    408 => call.worker.vitals.count(Count::Timeouts),
                    _ => call.worker.vitals.count(Count::Malformed),
                }
                return give_up(call, client, status, input).await;
            }
            End::Gone => {
                call.worker.vitals.count(Count::ClientGone);
                return Outcome::Close;
            }
            End::Cut => {
                call.worker.vitals.count(Count::Cut);
                return Outcome::Reset;
            }
            End::Fenced => return Outcome::Reset,
        };
        note_failure(&call, group, pool, place, address, &failed.failure);
        let tried = Attempt {
            failure: failed.failure,
            reused: failed.reused,
            sent: failed.sent,
            took: started.elapsed(),
        };
        let progress = Progress {
            idempotent: call.request.repeatable,
            intact: call.request.repeatable || !failed.sent,
            answered: failed.answered,
            alternative: group.servers.iter().enumerate().any(|(n, s)| n != place && s.is_usable()),
            elapsed: begun.elapsed(),
        };
        match retry.decide(&group.policy, &tried, &progress) {
            Next::Again { after, other_server } => {
                call.worker.vitals.count(Count::Retries);
                if !after.is_zero()
                    && unless_gone(&client.stream, call.body.is_done(), sleep(after)).await.is_none()
                {
                    call.worker.vitals.count(Count::ClientGone);
                    return Outcome::Close;
                }
                reuse = false;
                choice = match other_server {
                    true => pool.pick(group, Some(place)),
                    false => pool.again(group, place).map(|address| (place, address)),
                };
                choice = choice.or_else(|| pool.pick(group, None));
            }
            Next::GiveUp(status) => return give_up(call, client, status, input).await,
            Next::Cut => {
                call.worker.vitals.count(Count::Cut);
                return Outcome::Reset;
            }
        }
    }
}

fn note_failure(
    call: &Call<'_, '_>,
    group: &Group,
    pool: &Rc<Pool>,
    place: usize,
    address: std::net::SocketAddr,
    failure: &Failure,
) {
    call.worker.vitals.count(Count::UpstreamFailed);
    tracing::debug!(upstream = %group.config.name, %address, ?failure, "try failed");
    match failure {
        Failure::Connect | Failure::ConnectTimeout => {
            pool.forget(address);
            if let Some(server) = group.servers.get(place) {
                server.could_not_connect();
            }
        }
        // The others to the same place would hang as well.
        Failure::FirstByteTimeout | Failure::Timeout => pool.forget(address),
        Failure::Malformed => call.worker.vitals.count(Count::UpstreamMalformed),
        Failure::Empty => (),
    }
}

async fn give_up<'w>(call: Call<'_, 'w>, client: &mut Client, status: u16, input: Lent<'w>) -> Outcome<'w> {
    let reply = Reply::error(status, &call.view.snapshot.node);
    own(call.worker, client, call.site, call.request, reply, call.body, input).await
}
