//! The machine, state by state and event by event, and the stories that no single arm tells.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

mod alone;
mod election;
mod groups;
mod handover;
mod preemption;
mod promises;
mod silence;
mod stories;

use super::*;
use crate::config::VrrpVersion;
use crate::link::VrrpState;
use crate::net::{Centiseconds, MacAddr, Priority, Vrid};

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
const LOWER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
const HIGHER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// Priority 100, every 100 ms: skew time 60.9375 ms, down interval 360.9375 ms, takeover bound 300 ms.
fn settings() -> Settings {
    Settings {
        name: "web".to_owned(),
        version: VrrpVersion::V3,
        vrid: Vrid::try_from(51).unwrap(),
        priority: Priority::DEFAULT,
        advert_interval: Centiseconds::try_from(10).unwrap(),
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: vec![VIP],
        lease: Duration::from_secs(1),
        drain_timeout: Duration::from_secs(5),
    }
}

fn advert(priority: u8) -> Advert {
    settings().advert(priority)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// A gap that `now` does not show: in these tables the clock stands still.
fn paused(length: Duration) -> Gap {
    Gap { length, hidden: length }
}

struct Rig {
    machine: Machine,
    start: Instant,
    now: Instant,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self { machine: Machine::new(settings, now), start: now, now }
    }

    /// Interface and proxy are there: the machine stands for election.
    fn standing(settings: Settings) -> Self {
        let mut rig = Self::new(settings);
        rig.machine.handle_interface(Some(OWN), rig.now);
        rig.machine.handle_eligible(Ok(()), rig.now);
        rig.drain();
        rig
    }

    fn in_state(state: State) -> Self {
        let mut rig = match state {
            State::Fault => Self::new(settings()),
            _ => Self::standing(settings()),
        };
        match state {
            State::Fault => {}
            State::Alone => rig.run(ms(50)),
            State::Behind => {
                rig.machine.handle_advert(HIGHER_ADDRESS, &advert(150), rig.now);
                rig.run(ms(50));
            }
            State::Lingering => {
                rig.run(ms(1400));
                rig.machine.handle_advert(HIGHER_ADDRESS, &advert(150), rig.now);
                rig.run(ms(50));
            }
            State::Blocked => {
                rig.machine.handle_claim(STRANGERS_CLAIM, rig.now);
                rig.run(ms(400));
                assert_eq!(rig.machine.state(), VrrpState::Fault);
            }
            // Its last announcement is too long ago to be in the way of a defence.
            State::Master => rig.run(ms(1500)),
            State::Resigning => {
                rig.run(ms(1400));
                rig.machine.handle_resign(ms(1000), rig.now);
            }
            State::Stopping => {
                rig.run(ms(1400));
                rig.machine.handle_resign(ms(1000), rig.now);
                rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
            }
            State::Stopped => rig.machine.handle_resign(ms(1000), rig.now),
        }
        rig.drain();
        rig
    }

    /// Serves every timer on time, throwing the outputs away.
    fn run(&mut self, duration: Duration) {
        self.story(duration);
    }

    /// Serves every timer on time and tells what comes out, with the time since the start in microseconds.
    fn story(&mut self, duration: Duration) -> Vec<(Duration, String)> {
        let end = self.now + duration;
        let mut story = Vec::new();
        while let Some((at, _)) = self.machine.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            let told = self.drain();
            if !told.is_empty() {
                story.push((self.now - self.start, told));
            }
        }
        self.now = end;
        story
    }

    fn drain(&mut self) -> String {
        let mut told: Vec<String> = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            if let Some(next) = tell(output).filter(|next| told.last() != Some(next)) {
                told.push(next);
            }
        }
        told.join(", ")
    }
}

/// One output in a word or two; announcements in both forms are one.
fn tell(output: Output) -> Option<String> {
    Some(match output {
        Output::SendAdvert(advert) => format!("advert {}", advert.priority),
        Output::Hold { .. } => "hold".to_owned(),
        Output::Release { .. } => "release".to_owned(),
        Output::DestroySockets { .. } => "destroy".to_owned(),
        Output::DiscardReceived => "discard".to_owned(),
        Output::AnswerArp(true) => "answer".to_owned(),
        Output::AnswerArp(false) => "silent".to_owned(),
        Output::Announce { .. } => "announce".to_owned(),
        Output::Relay { old, .. } => format!("relay to {old}"),
        Output::EndRelay => "end relay".to_owned(),
        Output::TellClients { old, .. } => format!("tell clients of {old}"),
        Output::Probe { .. } => "probe".to_owned(),
        Output::Ask { peer } => format!("ask {peer}"),
        Output::Drain { first, bound, .. } => format!("drain {}{bound:?}", if first { "first " } else { "" }),
        Output::Keep => "keep".to_owned(),
        Output::Drained => "drained".to_owned(),
        Output::SteppedDown(Ok(_)) => "stepped down".to_owned(),
        Output::SteppedDown(Err(_)) => "refused".to_owned(),
        Output::Transition(t) => match t.to {
            VrrpState::Fault => "FAULT".to_owned(),
            VrrpState::Backup => "BACKUP".to_owned(),
            VrrpState::Master => "MASTER".to_owned(),
        },
        Output::Warn { kind, .. } => format!("warn {kind:?}"),
        Output::ClearWarn(kind) => format!("clear {kind:?}"),
        Output::Resigned { .. } => "resigned".to_owned(),
        Output::Count(_) => return None,
    })
}

const STRANGERS_CLAIM: Claim = Claim { address: VIP, mac: MAC, by: Claimant::Stranger };
const PEERS_CLAIM: Claim = Claim { address: VIP, mac: MAC, by: Claimant::Peer };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fault,
    Blocked,
    /// Backup that has heard nobody.
    Alone,
    /// Backup that has just heard a better master.
    Behind,
    /// Backup that has just lost to a better master and still has the address.
    Lingering,
    Master,
    Resigning,
    Stopping,
    Stopped,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Higher,
    Lower,
    EqualHigherAddress,
    EqualLowerAddress,
    Release,
    PeersClaim,
    StrangersClaim,
    InterfaceLost,
    Ineligible,
    ShortGap,
    LongGap,
    Resign,
}

/// What the event makes the machine do at once, and when the down timer would fire after it.
fn react(state: State, event: Event) -> (String, Option<Duration>) {
    let mut rig = Rig::in_state(state);
    let (machine, now) = (&mut rig.machine, rig.now);
    match event {
        Event::Higher => machine.handle_advert(LOWER_ADDRESS, &advert(101), now),
        Event::Lower => machine.handle_advert(HIGHER_ADDRESS, &advert(99), now),
        Event::EqualHigherAddress => machine.handle_advert(HIGHER_ADDRESS, &advert(100), now),
        Event::EqualLowerAddress => machine.handle_advert(LOWER_ADDRESS, &advert(100), now),
        Event::Release => machine.handle_advert(HIGHER_ADDRESS, &advert(0), now),
        Event::PeersClaim => machine.handle_claim(PEERS_CLAIM, now),
        Event::StrangersClaim => machine.handle_claim(STRANGERS_CLAIM, now),
        Event::InterfaceLost => machine.handle_interface(None, now),
        Event::Ineligible => machine.handle_eligible(Err("the proxy is down".to_owned()), now),
        Event::ShortGap => machine.handle_gap(paused(ms(250)), now),
        Event::LongGap => machine.handle_gap(paused(ms(2300)), now),
        Event::Resign => machine.handle_resign(ms(1000), now),
    }
    let down = machine.timers.deadline(timers::Timer::Down).map(|at| at - now);
    (rig.drain(), down)
}

#[test]
fn every_state_meets_every_event() {
    use Event::*;
    let whole = Some(us(360_937) + Duration::from_nanos(500));
    let skew = Some(us(60_937) + Duration::from_nanos(500));
    // Discarded or ignored 50 ms after it was armed.
    let running = Some(us(310_937) + Duration::from_nanos(500));
    let gone = "silent, advert 0, release, destroy, FAULT";
    let lost = "silent, drain 5s, BACKUP";
    let fenced = "silent, release, destroy, discard, BACKUP";
    /// The event, what comes out, and when the down timer fires.
    type Row = (Event, &'static str, Option<Duration>);
    let table: [(State, [Row; 12]); 9] = [
        (
            State::Fault,
            [
                (Higher, "", None),
                (Lower, "", None),
                (EqualHigherAddress, "", None),
                (EqualLowerAddress, "", None),
                (Release, "", None),
                (PeersClaim, "", None),
                (StrangersClaim, "", None),
                (InterfaceLost, "FAULT", None),
                (Ineligible, "FAULT", None),
                (ShortGap, "", None),
                (LongGap, "", None),
                (Resign, "FAULT, resigned", None),
            ],
        ),
        (
            State::Blocked,
            [
                (Higher, "clear Stranger, BACKUP", whole),
                (Lower, "clear Stranger, BACKUP", whole),
                (EqualHigherAddress, "clear Stranger, BACKUP", whole),
                (EqualLowerAddress, "clear Stranger, BACKUP", whole),
                (Release, "", None),
                (PeersClaim, "", None),
                (StrangersClaim, "", None),
                (InterfaceLost, "clear Stranger, FAULT", None),
                (Ineligible, "clear Stranger, FAULT", None),
                (ShortGap, "", None),
                (LongGap, "", None),
                (Resign, "clear Stranger, FAULT, resigned", None),
            ],
        ),
        (
            State::Alone,
            [
                (Higher, "", whole),
                (Lower, "", running),
                (EqualHigherAddress, "", whole),
                (EqualLowerAddress, "", whole),
                (Release, "", skew),
                (PeersClaim, "", running),
                (StrangersClaim, "", running),
                (InterfaceLost, "FAULT", None),
                (Ineligible, "FAULT", None),
                (ShortGap, "", whole),
                (LongGap, "discard", whole),
                (Resign, "FAULT, resigned", None),
            ],
        ),
        (
            State::Behind,
            [
                (Higher, "", whole),
                (Lower, "", running),
                (EqualHigherAddress, "", whole),
                (EqualLowerAddress, "", whole),
                (Release, "", skew),
                (PeersClaim, "", running),
                (StrangersClaim, "", running),
                (InterfaceLost, "FAULT", None),
                (Ineligible, "FAULT", None),
                (ShortGap, "", whole),
                (LongGap, "discard", whole),
                (Resign, "FAULT, resigned", None),
            ],
        ),
        (
            State::Lingering,
            [
                (Higher, "", whole),
                (Lower, "", running),
                (EqualHigherAddress, "", whole),
                (EqualLowerAddress, "", whole),
                (Release, "", skew),
                (PeersClaim, "", running),
                (StrangersClaim, "", running),
                (InterfaceLost, "release, destroy, drained, FAULT", None),
                (Ineligible, "release, destroy, drained, FAULT", None),
                (ShortGap, "", whole),
                (LongGap, "release, destroy, drained, discard", whole),
                (Resign, "", None),
            ],
        ),
        (
            State::Master,
            [
                (Higher, lost, whole),
                (Lower, "advert 100, warn TwoMasters", None),
                (EqualHigherAddress, lost, whole),
                (EqualLowerAddress, "advert 100, warn TwoMasters", None),
                (Release, "advert 100", None),
                (PeersClaim, "advert 100", None),
                (StrangersClaim, "warn Stranger, announce", None),
                (InterfaceLost, "silent, release, destroy, FAULT", None),
                (Ineligible, gone, None),
                (ShortGap, "", None),
                (LongGap, fenced, whole),
                (Resign, "advert 0", None),
            ],
        ),
        (
            State::Resigning,
            [
                (Higher, lost, None),
                (Lower, lost, None),
                (EqualHigherAddress, lost, None),
                (EqualLowerAddress, lost, None),
                (Release, "", None),
                (PeersClaim, lost, None),
                (StrangersClaim, "", None),
                (InterfaceLost, "silent, release, destroy, FAULT, resigned", None),
                (Ineligible, "silent, advert 0, release, destroy, FAULT, resigned", None),
                (ShortGap, "", None),
                (LongGap, "silent, release, destroy, discard, FAULT, resigned", None),
                (Resign, "", None),
            ],
        ),
        (
            State::Stopping,
            [
                (Higher, "", None),
                (Lower, "", None),
                (EqualHigherAddress, "", None),
                (EqualLowerAddress, "", None),
                (Release, "", None),
                (PeersClaim, "", None),
                (StrangersClaim, "", None),
                (InterfaceLost, "release, destroy, drained, FAULT, resigned", None),
                (Ineligible, "release, destroy, drained, FAULT, resigned", None),
                (ShortGap, "", None),
                (LongGap, "release, destroy, drained, FAULT, resigned", None),
                (Resign, "", None),
            ],
        ),
        (
            State::Stopped,
            [
                (Higher, "", None),
                (Lower, "", None),
                (EqualHigherAddress, "", None),
                (EqualLowerAddress, "", None),
                (Release, "", None),
                (PeersClaim, "", None),
                (StrangersClaim, "", None),
                (InterfaceLost, "", None),
                (Ineligible, "", None),
                (ShortGap, "", None),
                (LongGap, "", None),
                (Resign, "", None),
            ],
        ),
    ];
    for (state, row) in table {
        for (event, told, down) in row {
            assert_eq!(react(state, event), (told.to_owned(), down), "{state:?} meets {event:?}");
        }
    }
}
