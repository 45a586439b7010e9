//! A connection that is kept: one request after another on it, a new connection when it is gone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::exchange::{self, Sender};
use super::target::Plan;
use crate::probe::{Failure, Outcome};

/// Between two requests on one kept connection: often enough that a fault meets most of them in use.
const EVERY: Duration = Duration::from_millis(100);

/// What a kept connection tells the run.
pub(super) enum Kept {
    Request {
        start: Instant,
        end: Instant,
        outcome: Outcome,
    },
    /// The server had closed it in good order; a new one stands.
    Reopened,
}

/// How one kept connection ended.
enum End {
    /// Between two requests.
    Idle,
    /// A request failed with it.
    Spoilt,
}

/// Runs until it is dropped.
pub(super) async fn run(address: SocketAddr, plan: Rc<Plan>, to: mpsc::Sender<Kept>) -> Infallible {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reopening = false;
    loop {
        tick.tick().await;
        let start = Instant::now();
        let opened = tokio::time::timeout(plan.timeout, exchange::open(address)).await;
        let (sender, connection) = match opened.unwrap_or(Err(Failure::Timeout)) {
            Ok(opened) => opened,
            Err(how) => {
                let end = Instant::now();
                send(&to, Kept::Request { start, end, outcome: Outcome::Failed { how } }).await;
                continue;
            }
        };
        if reopening {
            send(&to, Kept::Reopened).await;
        }
        tokio::select! {
            end = converse(sender, &plan, &to, &mut tick) => reopening = matches!(end, End::Idle),
            never = exchange::drive(connection) => match never {},
        }
    }
}

async fn converse(
    mut sender: Sender,
    plan: &Plan,
    to: &mpsc::Sender<Kept>,
    tick: &mut tokio::time::Interval,
) -> End {
    loop {
        if sender.ready().await.is_err() {
            return End::Idle;
        }
        let start = Instant::now();
        let request = exchange::request(&plan.target);
        let asked = tokio::time::timeout(plan.timeout, exchange::ask(&mut sender, request)).await;
        let outcome = asked.unwrap_or(Outcome::Failed { how: Failure::Timeout });
        let spoilt = match &outcome {
            Outcome::Answered { .. } => false,
            Outcome::Failed { how } => !matches!(how, Failure::ServerError | Failure::OtherStatus),
        };
        send(to, Kept::Request { start, end: Instant::now(), outcome }).await;
        if spoilt {
            return End::Spoilt;
        }
        tick.tick().await;
    }
}

async fn send(to: &mpsc::Sender<Kept>, what: Kept) {
    // The run that listens has ended, and drops this connection with its next breath.
    let _ = to.send(what).await;
}
