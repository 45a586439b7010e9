//! A freeze that somebody orders for a drill: whether it is obeyed, and when it begins. No process, no clock.

use std::time::{Duration, Instant};

use crate::peer::Order;

/// The answer has left this node by then.
pub const FREEZE_AFTER: Duration = Duration::from_millis(100);
/// From the end of one to the beginning of the next: time for the node to find its place, and for whoever has the key
/// and no good in mind no way to keep it out for good.
pub const FREEZES_APART: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Freezes {
    due: Option<(Instant, Duration)>,
    ended: Option<Instant>,
}

impl Freezes {
    /// `allowed`: the configuration takes orders. `busy`: what must not be interrupted.
    pub fn handle_order(
        &mut self,
        length: Duration,
        allowed: bool,
        busy: Option<&str>,
        now: Instant,
    ) -> Result<(), String> {
        if !allowed {
            return Err("it takes no orders: `link: {drill: true}` is not in its configuration".to_owned());
        }
        if !(Order::FREEZE_LEAST..=Order::FREEZE_MOST).contains(&length) {
            let (least, most) = (Order::FREEZE_LEAST, Order::FREEZE_MOST);
            return Err(format!("it stands still for {least:?} to {most:?}, not for {length:?}"));
        }
        if self.due.is_some() {
            return Err("it is about to stand still already".to_owned());
        }
        if let Some(wait) = self.ended.and_then(|ended| (ended + FREEZES_APART).checked_duration_since(now)) {
            return Err(format!("it has just stood still; ask again in {} s", wait.as_secs() + 1));
        }
        if let Some(busy) = busy {
            return Err(format!("it must not stand still now: {busy}"));
        }
        self.due = Some((now + FREEZE_AFTER, length));
        Ok(())
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.map(|(at, _)| at)
    }

    /// It begins now, for so long.
    pub fn begin(&mut self, now: Instant) -> Option<Duration> {
        self.due.take_if(|(at, _)| *at <= now).map(|(_, length)| length)
    }

    pub fn handle_end(&mut self, now: Instant) {
        self.ended = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_obeyed() {
        let start = Instant::now();
        type Row<'a> = (u32, bool, Option<&'a str>, Result<(), &'a str>);
        let table: [Row<'_>; 8] = [
            (2_000, true, None, Ok(())),
            (200, true, None, Ok(())),
            (10_000, true, None, Ok(())),
            (199, true, None, Err("it stands still for 200ms to 10s, not for 199ms")),
            (10_001, true, None, Err("it stands still for 200ms to 10s, not for 10.001s")),
            (0, true, None, Err("it stands still for 200ms to 10s, not for 0ns")),
            (2_000, false, None, Err("it takes no orders")),
            (2_000, true, Some("vipgate stops"), Err("it must not stand still now: vipgate stops")),
        ];
        for (ms, allowed, busy, expect) in table {
            let mut freezes = Freezes::default();
            let got = freezes.handle_order(ms * MS, allowed, busy, start);
            match expect {
                Ok(()) => assert_eq!(got, Ok(()), "{ms}"),
                Err(why) => assert!(got.as_ref().is_err_and(|e| e.starts_with(why)), "{ms}: {got:?}"),
            }
            assert_eq!(freezes.begin(start + FREEZE_AFTER), expect.ok().map(|()| ms * MS));
        }
    }

    #[test]
    fn one_at_a_time_and_a_while_apart() {
        let start = Instant::now();
        let mut freezes = Freezes::default();
        let order = |freezes: &mut Freezes, at| freezes.handle_order(500 * MS, true, None, at);
        assert_eq!(order(&mut freezes, start), Ok(()));
        assert!(order(&mut freezes, start + 50 * MS).unwrap_err().contains("already"));
        assert_eq!(freezes.begin(start + 99 * MS), None, "its answer is on its way");
        assert_eq!(freezes.poll_timeout(), Some(start + FREEZE_AFTER));
        assert_eq!(freezes.begin(start + FREEZE_AFTER), Some(500 * MS));
        assert_eq!(freezes.begin(start + FREEZE_AFTER), None, "once");
        let end = start + 600 * MS;
        freezes.handle_end(end);
        assert!(order(&mut freezes, end + 7_500 * MS).unwrap_err().ends_with("ask again in 3 s"));
        assert_eq!(order(&mut freezes, end + FREEZES_APART + MS), Ok(()));
    }
}
