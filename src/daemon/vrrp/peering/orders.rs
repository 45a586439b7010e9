//! Somebody who has the key and is no peer: a connection of his own, one order, one answer. What moves an address or
//! stops a process is PID 1's to decide, which has the last word on whether orders are taken at all.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::instance::Instance;
use super::super::shell::Shell;
use super::connection::Meeting;
use super::node::Peering;
use super::roster::Pairing;
use super::words::state;
use crate::link::{FromVrrp, Ordered};
use crate::net::Family;
use crate::os::clock;
use crate::peer::{Key, Message, Order, Outcome, Refusal};

/// Orders that wait for their outcome; a drill gives one at a time.
const AT_ONCE: usize = 4;
/// For the answer to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Number of the last one; a process that was here before has used lower ones.
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Message>>,
}

impl Peering {
    pub(super) fn takes_orders(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.drill)
    }

    /// `None`: the greeting was followed by an order, which has been taken.
    pub(super) fn unless_order(
        &mut self,
        pairing: Pairing,
        greeted: Result<Box<Meeting>, Refusal>,
        instances: &[Instance],
        shell: &Shell,
    ) -> Option<Result<Box<Meeting>, Refusal>> {
        let (order, meeting) = match greeted {
            Ok(meeting) => match meeting.first {
                Some(Message::Order(order)) => (order, meeting),
                _ => return Some(Ok(meeting)),
            },
            Err(refusal) => return Some(Err(refusal)),
        };
        let is_current = |key: &Key| self.source.keys().is_ok_and(|keys| keys.accepts(key));
        if !meeting.greeted.keys.iter().all(is_current) {
            return Some(Err(Refusal::Key));
        }
        let (reply, answer) = oneshot::channel();
        // Ends with the answer, or with the role.
        drop(tokio::spawn(converse(meeting, answer)));
        self.count("link_orders");
        match self.judge(order, Family::of(pairing.0), instances) {
            Ok(None) => drop(reply.send(Message::State(Box::new(state(instances, &self.about))))),
            Ok(Some(what)) => {
                let orders = &mut self.orders;
                orders.last = (orders.last + 1).max(clock::boottime_ns());
                orders.waiting.insert(orders.last, reply);
                shell.tell(FromVrrp::Ordered { number: orders.last, from: pairing.1, what });
            }
            Err(text) => drop(reply.send(Message::Outcome(Outcome { done: false, text }))),
        }
        None
    }

    /// PID 1 has decided.
    pub(in super::super) fn answer_order(&mut self, number: u64, outcome: Result<String, String>) {
        let Some(reply) = self.orders.waiting.remove(&number) else { return };
        let done = outcome.is_ok();
        let text = outcome.unwrap_or_else(|why| why);
        // Whoever has gone needs no answer.
        drop(reply.send(Message::Outcome(Outcome { done, text })));
    }

    /// What PID 1 is to be asked for; `None`: nothing but a look.
    fn judge(
        &mut self,
        order: Order,
        family: Family,
        instances: &[Instance],
    ) -> Result<Option<Ordered>, String> {
        if !self.takes_orders() {
            return Err("it takes no orders: `link: {drill: true}` is not in its configuration".to_owned());
        }
        let what = match order {
            Order::Look => return Ok(None),
            Order::HandOver { vrid } => {
                let mut instances = instances.iter().filter(|instance| !instance.leaving);
                let id = |instance: &Instance| (instance.config.family(), instance.config.vrid.get());
                let instance = instances.find(|instance| id(instance) == (family, vrid));
                let instance =
                    instance.ok_or_else(|| format!("it has no virtual router with vrid {vrid}"))?;
                Ordered::HandOver { instance: instance.config.name.clone() }
            }
            Order::Freeze { length } => Ordered::Freeze { length },
            Order::Other => return Err("it does not know this order: its version is an older one".to_owned()),
        };
        // Whoever has stopped waiting is forgotten.
        self.orders.waiting.retain(|_, reply| !reply.is_closed());
        if self.orders.waiting.len() >= AT_ONCE {
            return Err("others have given orders and wait for the outcome".to_owned());
        }
        Ok(Some(what))
    }
}

async fn converse(mut meeting: Box<Meeting>, answer: oneshot::Receiver<Message>) {
    let mut byte = [0];
    let message = tokio::select! {
        answer = answer => answer,
        // Whoever gives an order has nothing more to say: he is gone.
        _ = meeting.stream.read(&mut byte) => return,
    };
    let Ok(message) = message else { return };
    let (kind, payload) = message.emit();
    let Some(frame) = meeting.greeted.session.sealer.seal(kind, &payload) else { return };
    let said = async {
        meeting.stream.write_all(&frame).await?;
        meeting.stream.shutdown().await?;
        meeting.stream.read(&mut byte).await
    };
    // He has it, or asks again.
    let _: Result<io::Result<usize>, _> = timeout(LAST_WORDS, said).await;
}
