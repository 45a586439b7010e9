//! What somebody orders for a drill who has the key of the link: to hand over, which is a wish like any other, and to stand
//! still, as `docker pause` would have it. Everything that listens to the network stops; this process alone goes on, and
//! does nothing but wait for the end or for a signal.

use std::net::IpAddr;
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::warn;

use super::control::Ask;
use super::player::Heard;
use super::run::Supervisor;
use super::start::{Call, Calls};
use crate::link::control::{Answer, HappeningKind, Request, RoleState, WishRequest};
use crate::link::{Ordered, ToVrrp, Wish};
use crate::os::process;
use crate::supervision::{Player, RoleName};

impl Supervisor {
    pub(super) fn take_order(&mut self, player: Player, number: u64, from: IpAddr, what: Ordered) {
        let outcome = match what {
            Ordered::HandOver { instance } if self.in_force.config.link.drill => {
                let text = format!("{from} orders a failover of {instance}, for a drill");
                warn!("{text}");
                self.record(HappeningKind::Drill, &text);
                return self.hand_over(player, number, instance);
            }
            Ordered::HandOver { .. } => Err("it takes no orders any more".to_owned()),
            Ordered::Freeze { length } => {
                let allowed = self.in_force.config.link.drill;
                let busy = self.is_busy();
                let outcome = self.freezes.handle_order(length, allowed, busy.as_deref(), Instant::now());
                if outcome.is_ok() {
                    let text = format!("{from} orders this node to stand still for {length:?}, for a drill");
                    warn!("{text}");
                    self.record(HappeningKind::Drill, &text);
                }
                outcome.map(|()| format!("stands still for {length:?}"))
            }
        };
        let lost = self.tell_vrrp(ToVrrp::Outcome { number, outcome });
        self.follow(lost);
    }

    /// As if somebody had asked over the control socket; the answer comes back by the same way as the order.
    fn hand_over(&mut self, player: Player, number: u64, instance: String) {
        let (reply, answer) = oneshot::channel();
        let heard = self.heard.clone();
        // Ends with the answer.
        drop(tokio::spawn(async move {
            let outcome = match answer.await {
                Ok(Answer::Done { text }) => Ok(text),
                Ok(Answer::Refused { reason }) => Err(reason),
                Ok(Answer::Status(_)) | Err(_) => Err("nobody has answered".to_owned()),
            };
            // With the receiver PID 1 itself is gone.
            let _ = heard.send(Heard::Outcome(player, number, outcome)).await;
        }));
        let wish = Wish::Failover { instance: Some(instance) };
        let request = Request::Wish(WishRequest { wish: wish.clone() });
        self.take_wish(wish, Ask { request, reply });
    }

    /// Of another incarnation of the vrrp role nobody waits for it.
    pub(super) fn outcome(&mut self, player: Player, number: u64, outcome: Result<String, String>) {
        if self.plan.view(RoleName::Vrrp).incarnation == player.incarnation {
            let lost = self.tell_vrrp(ToVrrp::Outcome { number, outcome });
            self.follow(lost);
        }
    }

    /// What has begun under a clock, and would be late.
    fn is_busy(&self) -> Option<String> {
        if self.plan.is_stopping() {
            return Some("vipgate is stopping".to_owned());
        }
        if !self.pending.is_empty() {
            return Some("an edit of the configuration is under way".to_owned());
        }
        let roles = RoleName::ALL.into_iter().filter(|role| self.plan.is_wanted(*role));
        let mut views = roles.map(|role| (role, self.plan.view(role).state));
        let (role, state) = views.find(|(_, state)| *state != RoleState::Serving)?;
        Some(format!("the {role} role is {state}"))
    }

    /// Where a freeze is due: none of the roles runs for its time, and nothing is done here. A stop ends it early. Returns
    /// the call that has come meanwhile.
    pub(super) async fn stand_still(&mut self, calls: &mut Calls) -> Option<Call> {
        let length = self.freezes.begin(Instant::now())?;
        // It has begun since the order came.
        if let Some(busy) = self.is_busy() {
            warn!("this node does not stand still for a drill: {busy}");
            self.record(HappeningKind::Drill, &format!("this node does not stand still: {busy}"));
            return None;
        }
        let pids: Vec<u32> = self.players.keys().copied().collect();
        // One that has ended is reaped afterwards.
        pids.iter().for_each(|pid| drop(process::suspend_child(*pid)));
        let until = tokio::time::Instant::now() + length;
        let mut call = None;
        while call != Some(Call::Stop) {
            match tokio::time::timeout_at(until, calls.next()).await {
                Ok(Call::Reap) => (),
                Ok(other) => call = Some(other),
                Err(_) => break,
            }
        }
        pids.iter().for_each(|pid| drop(process::resume_child(*pid)));
        self.freezes.handle_end(Instant::now());
        warn!("this node has stood still for a drill, and goes on");
        self.record(HappeningKind::Drill, "this node has stood still for a drill, and goes on");
        self.reap();
        call
    }
}
