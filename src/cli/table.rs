//! A node's status as a person reads it.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::output::count;
use crate::link::control::{RoleState, RoleStatus, Status};
use crate::link::{
    ArpFence, Boottime, HandoverReport, InstanceReport, LinkReport, PeerLinkState, PeerReport, ProxyReport,
    RunnerReport, TrackReport, VrrpReport,
};

/// A report older than this is given with its age.
const FRESH: Duration = Duration::from_secs(1);
/// Lines of the history that fit beside the rest.
const SHOWN_HISTORY: usize = 8;

pub(super) fn render(status: &Status) -> String {
    let mut page = Page::default();
    let up = age(status.now, status.started);
    let stopping = if status.stopping { ", stopping" } else { "" };
    page.row("node", &format!("{} (vipgate {}, up {up}{stopping})", status.node, status.version));
    config(&mut page, status);
    if let Some(vrrp) = &status.vrrp {
        page.row("vrrp", &role(status, vrrp));
        for instance in vrrp.report.iter().flat_map(|(_, report)| &report.instances) {
            router(&mut page, status, instance);
        }
        if let Some((_, report)) = &vrrp.report {
            link(&mut page, &report.link);
        }
    }
    page.row("proxy", &role(status, &status.proxy));
    if let Some((_, report)) = &status.proxy.report {
        proxy(&mut page, report);
    }
    if let Some(status_of) = &status.runner {
        page.row("runner", &role(status, status_of));
        if let Some((_, report)) = &status_of.report {
            runner(&mut page, report);
        }
    }
    history(&mut page, status);
    warnings(&mut page, status);
    page.text
}

fn config(page: &mut Page, status: &Status) {
    let config = &status.config;
    let digest: String = config.digest.chars().take(12).collect();
    page.row("config", &format!("{} ({digest})", config.path));
    page.row("", &format!("generation {}, for {}", config.generation.0, age(status.now, config.since)));
    if let Some(admin) = config.admin {
        page.row("", &format!("admin endpoint http://{admin}/"));
    }
    if let Some(waiting) = &config.waiting {
        let ago = age(status.now, waiting.since);
        page.row("", &format!("the edit {ago} ago waits for the peer to take it first"));
    }
    if let Some(refused) = &config.refused {
        let what = if refused.is_held { "held back" } else { "refused" };
        let again = if refused.is_retried { " and will be tried again" } else { "" };
        let ago = age(status.now, refused.at);
        page.row("", &format!("the edit {ago} ago was {what}{again}; this one stays:"));
        page.block(&refused.problems);
    }
}

fn router(page: &mut Page, status: &Status, instance: &InstanceReport) {
    page.row(
        &format!("  {}", instance.name),
        &format!("{} since {}: {}", instance.state, age(status.now, instance.since), instance.reason),
    );
    let addresses = join(instance.virtual_addresses.iter());
    let on = instance.interface.as_ref().map_or_else(|| "no interface".into(), |i| format!("on {i}"));
    page.row("    address", &format!("{addresses} {on}"));
    let configured = match instance.configured_priority {
        configured if configured == instance.priority => String::new(),
        configured => format!(" ({configured} configured)"),
    };
    page.row("    router", &format!("vrid {}, priority {}{configured}", instance.vrid, instance.priority));
    let mut label = "    tracks";
    for track in &instance.tracks {
        page.row(label, &tracked(track));
        label = "";
    }
    if let Some((master, priority)) = instance.master {
        page.row("    heard", &format!("{master} as the last other master, with priority {priority}"));
    }
    if !instance.peers.is_empty() {
        page.row("    peers", &join(instance.peers.iter()));
    }
    page.row("    fence", &fence(instance));
    page.row("    handover", &handover(&instance.handover));
    if instance.auth_hmac != "off" {
        page.row("    signed", &instance.auth_hmac);
    }
    counters(page, &instance.counters);
}

fn tracked(track: &TrackReport) -> String {
    let state = match track.ok {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "unknown",
    };
    let effect = match (track.fault, track.priority) {
        (true, _) => ": does not stand".to_owned(),
        (false, 0) => String::new(),
        (false, change) => format!(": priority {change:+}"),
    };
    format!("{} {state} ({}){effect}", track.name, track.reason)
}

fn handover(handover: &HandoverReport) -> String {
    let mut text = match handover.relays {
        true => "connections stay with their node (nftables)".to_owned(),
        false => "NO RELAY: connections are ended before an address moves".to_owned(),
    };
    if let Some(old) = handover.relays_to {
        let _ = write!(text, ", some are relayed to {old}");
    }
    if handover.lingers {
        text.push_str(", some are still served here");
    }
    text
}

fn link(page: &mut Page, report: &LinkReport) {
    match (report.port, &report.off) {
        (Some(port), _) => page.row("  link", &format!("on, at port {port}")),
        (None, Some(why)) => page.row("  link", &format!("off: {why}")),
        (None, None) => return,
    }
    page.row("    late", &late(report));
    for one in &report.peers {
        peer(page, one);
    }
    counters(page, &report.counters);
}

/// How late this node's own timers are, and why they may be later.
fn late(report: &LinkReport) -> String {
    let quota = match report.quota.as_millis() {
        0 => String::new(),
        period => format!("; a quota on its processor time can stop it for up to {period} ms"),
    };
    let late = report.late.as_millis();
    match report.contended {
        false => format!("at most {late} ms lately{quota}"),
        true => {
            let measured = report.measured.as_millis();
            format!(
                "taken for {late} ms, since others want the processors all the time; measured {measured} ms{quota}"
            )
        }
    }
}

fn peer(page: &mut Page, peer: &PeerReport) {
    let link = match peer.link {
        PeerLinkState::Connecting => "connecting",
        PeerLinkState::Up => "up",
        PeerLinkState::Frozen => "FROZEN",
        PeerLinkState::Down => "down",
    };
    let about = match (peer.node.as_str(), peer.version.as_str()) {
        ("", _) => String::new(),
        (node, version) => format!(" ({node}, vipgate {version})"),
    };
    page.row("    peer", &format!("{}{about} {link}: {}", peer.address, peer.reason));
    if peer.node.is_empty() {
        return;
    }
    for router in &peer.routers {
        let why = router.ineligible.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let state = router.state.to_uppercase();
        let family = if router.ipv6 { " (IPv6)" } else { "" };
        page.row("", &format!("vrid {}{family} {state}, priority {}{why}", router.vrid, router.priority));
    }
    let connections = count(peer.clients, "connection");
    page.row("", &format!("{connections} of clients, at most {} late", span(peer.late)));
    if peer.other_config {
        page.row("", "ANOTHER CONFIGURATION than this node's");
    }
}

fn fence(instance: &InstanceReport) -> String {
    let fence = &instance.fence;
    let is_v6 = instance.virtual_addresses.first().is_some_and(IpAddr::is_ipv6);
    let arp = match fence.arp {
        ArpFence::Nftables if is_v6 => "neighbour discovery in user space (nftables)",
        ArpFence::Nftables => "ARP in user space (nftables)",
        ArpFence::Sysctl => "ARP in user space (sysctl)",
        ArpFence::Loopback => "neighbour discovery in user space (lo)",
        ArpFence::None => "NO ARP FENCE: the kernel answers",
    };
    let destroy = if fence.socket_destroy { "sockets destroyed" } else { "sockets are not destroyed" };
    let gate = fence.gate.map_or_else(|| "NO GATE".into(), |open| format!("gate {} ms", open.as_millis()));
    format!("{arp}, lease {}, {gate}, {destroy}", span(fence.lease))
}

fn proxy(page: &mut Page, report: &ProxyReport) {
    let ProxyReport { workers, connections, requests, upstreams, counters: counted } = report;
    let (connections, requests) = (count(*connections, "connection"), count(*requests, "request"));
    page.row("  workers", &format!("{workers}, {connections}, {requests}"));
    for upstream in upstreams {
        let mut label = format!("  {}", upstream.name);
        for server in &upstream.servers {
            let state = if server.up { "up" } else { "DOWN" };
            page.row(&label, &format!("{} {state}: {}", server.address, server.reason));
            label.clear();
        }
    }
    counters(page, counted);
}

fn runner(page: &mut Page, report: &RunnerReport) {
    if report.waiting > 0 {
        page.row("  waiting", &count(report.waiting as u64, "notification"));
    }
    counters(page, &report.counters);
}

fn counters(page: &mut Page, counters: &[(String, u64)]) {
    let seen: Vec<_> =
        counters.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    if !seen.is_empty() {
        page.row("    counted", &seen.join(", "));
    }
}

/// The last ones; JSON has more.
fn history(page: &mut Page, status: &Status) {
    let mut label = "history";
    let first = status.history.len().saturating_sub(SHOWN_HISTORY);
    for happening in status.history.iter().skip(first) {
        page.row(label, &format!("{} ago: {}", age(status.now, happening.at), happening.what));
        label = "";
    }
}

fn warnings(page: &mut Page, status: &Status) {
    let vrrp =
        status.vrrp.iter().flat_map(|v| &v.report).flat_map(|(_, report): &(_, VrrpReport)| &report.warnings);
    let runner = status.runner.iter().flat_map(|r| &r.report).flat_map(|(_, report)| &report.warnings);
    let mut label = "warnings";
    for warning in status.warnings.iter().chain(vrrp).chain(runner) {
        page.row(label, warning);
        label = "";
    }
}

fn role<R>(status: &Status, role: &RoleStatus<R>) -> String {
    let mut text = format!("{} for {}", role.state, age(status.now, role.since));
    if let Some(pid) = role.pid {
        let _ = write!(text, ", pid {pid}");
    }
    if role.incarnation > 1 {
        let _ = write!(text, ", started {} times", role.incarnation);
    }
    if let Some(end) = &role.last_end {
        let _ = write!(text, ", the last one {end}");
    }
    match &role.report {
        Some((at, _)) if elapsed(status.now, *at) > FRESH => {
            let _ = write!(text, "; what follows is {} old", age(status.now, *at));
        }
        None if role.state == RoleState::Serving => text.push_str("; it has not reported"),
        Some(_) | None => (),
    }
    text
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
}

fn elapsed(now: Boottime, then: Boottime) -> Duration {
    Duration::from_nanos(now.0.saturating_sub(then.0))
}

fn age(now: Boottime, then: Boottime) -> String {
    span(elapsed(now, then))
}

/// Two units at most: 850 ms, 12 s, 3 min 5 s, 2 h 10 min, 3 d 4 h.
fn span(d: Duration) -> String {
    let s = d.as_secs();
    let two = |big: u64, a: &str, small: u64, b: &str| match small {
        0 => format!("{big} {a}"),
        _ => format!("{big} {a} {small} {b}"),
    };
    match s {
        0 => format!("{} ms", d.as_millis()),
        1..60 => format!("{s} s"),
        60..3600 => two(s / 60, "min", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "min"),
        86_400.. => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    const LABEL: usize = 12;

    fn row(&mut self, label: &str, text: &str) {
        let mut label = format!("{label:<width$} ", width = Self::LABEL);
        for line in text.lines() {
            self.text.push_str(&label);
            self.text.push_str(line);
            self.text.push('\n');
            label = " ".repeat(Self::LABEL + 1);
        }
    }

    fn block(&mut self, text: &str) {
        for line in text.lines() {
            self.row("", &format!("  {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::control::tests::status;
    use crate::link::control::{Happening, HappeningKind, RefusedEdit, WaitingEdit};
    use crate::link::{PeerRouterReport, VrrpState};

    #[test]
    fn spans_have_two_units_at_most() {
        let table = [
            (0, "0 ms"),
            (850, "850 ms"),
            (12_900, "12 s"),
            (60_000, "1 min"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (273_600_000, "3 d 4 h"),
        ];
        for (ms, expect) in table {
            assert_eq!(span(Duration::from_millis(ms)), expect);
        }
    }

    #[test]
    fn a_page_says_how_the_peers_are() {
        let mut status = status(VrrpState::Master);
        let report = &mut status.vrrp.as_mut().unwrap().report.as_mut().unwrap().1;
        report.link.off = Some("it has no key".into());
        assert!(render(&status).contains("\n  link       off: it has no key\n"));
        let frozen = PeerReport {
            address: "172.20.128.3".parse().unwrap(),
            link: PeerLinkState::Frozen,
            reason: "its process does not answer".into(),
            node: "backup".into(),
            version: "0.1.0".into(),
            other_config: true,
            late: Duration::from_millis(3),
            clients: 8,
            routers: vec![PeerRouterReport {
                vrid: 51,
                ipv6: false,
                state: "fault".into(),
                priority: 100,
                ineligible: Some("the proxy is down".into()),
            }],
        };
        let unknown = PeerReport {
            address: "172.20.128.5".parse().unwrap(),
            link: PeerLinkState::Down,
            reason: "nobody listens there".into(),
            node: String::new(),
            ..frozen.clone()
        };
        let report = &mut status.vrrp.as_mut().unwrap().report.as_mut().unwrap().1;
        report.link = LinkReport {
            port: Some(9112),
            off: None,
            late: Duration::from_millis(7),
            measured: Duration::from_millis(2),
            contended: false,
            quota: Duration::from_millis(100),
            peers: vec![frozen, unknown],
            counters: vec![("link_drop_key".into(), 2)],
        };
        let expect = "
  link       on, at port 9112
    late     at most 7 ms lately; a quota on its processor time can stop it for up to 100 ms
    peer     172.20.128.3 (backup, vipgate 0.1.0) FROZEN: its process does not answer
             vrid 51 FAULT, priority 100: the proxy is down
             8 connections of clients, at most 3 ms late
             ANOTHER CONFIGURATION than this node's
    peer     172.20.128.5 down: nobody listens there
    counted  link_drop_key 2
proxy ";
        assert!(render(&status).contains(expect), "{}", render(&status));
        let report = &mut status.vrrp.as_mut().unwrap().report.as_mut().unwrap().1;
        report.link.contended = true;
        let expect =
            "late     taken for 7 ms, since others want the processors all the time; measured 2 ms; a";
        assert!(render(&status).contains(expect), "{}", render(&status));
    }

    #[test]
    fn a_page_says_who_is_master_since_when_and_why() {
        let mut status = status(VrrpState::Master);
        status.config.refused = Some(RefusedEdit {
            at: Boottime(98_000_000_000),
            digest: String::new(),
            problems: "vipgate.yaml:3:1: unknown key\nvipgate.yaml:4:1: another".into(),
            is_retried: false,
            is_held: false,
        });
        status.warnings.push("the file was replaced".into());
        status.proxy.last_end = Some("was killed by SIGKILL".into());
        status.proxy.incarnation = 2;
        let happening = |n: u64| Happening {
            at: Boottime(n * 1_000_000_000),
            time: String::new(),
            kind: HappeningKind::Role,
            what: format!("event {n}"),
        };
        status.history = (81..90).map(happening).collect();
        let expect = "\
node         one (vipgate 0.1.0, up 1 min 36 s)
config       /etc/vipgate/vipgate.yaml (0123456789ab)
             generation 1, for 1 min 35 s
             the edit 2 s ago was refused; this one stays:
               vipgate.yaml:3:1: unknown key
               vipgate.yaml:4:1: another
vrrp         serving for 1 min 35 s, pid 7
  web        MASTER since 12 s: because
    address  172.20.128.4 on eth0
    router   vrid 51, priority 150
    heard    172.20.128.3 as the last other master, with priority 100
    peers    172.20.128.3
    fence    ARP in user space (nftables), lease 1 s, gate 48 ms, sockets destroyed
    handover connections stay with their node (nftables)
    counted  adverts_sent 120
proxy        serving for 1 min 35 s, pid 7, started 2 times, the last one was killed by SIGKILL
  workers    2, 0 connections, 0 requests
history      18 s ago: event 82
             17 s ago: event 83
             16 s ago: event 84
             15 s ago: event 85
             14 s ago: event 86
             13 s ago: event 87
             12 s ago: event 88
             11 s ago: event 89
warnings     the file was replaced
";
        assert_eq!(render(&status), expect);
        status.config.refused.as_mut().unwrap().is_retried = true;
        assert!(render(&status).contains(
            "\n             the edit 2 s ago was refused and will be tried again; this one stays:\n"
        ));
        status.config.refused.as_mut().unwrap().is_held = true;
        status.config.waiting = Some(WaitingEdit { since: Boottime(99_000_000_000), digest: String::new() });
        status.config.admin = Some("127.0.0.1:9127".parse().unwrap());
        let router = &mut status.vrrp.as_mut().unwrap().report.as_mut().unwrap().1.instances[0];
        let track = |ok, weight, priority, fault| TrackReport {
            name: "tcp 127.0.0.1:5432".into(),
            ok,
            reason: "refused".into(),
            weight,
            priority,
            fault,
        };
        router.priority = 130;
        router.tracks = vec![
            track(Some(false), -20, -20, false),
            track(Some(true), -20, 0, false),
            track(None, 0, 0, true),
        ];
        let page = render(&status);
        assert!(page.contains("    router   vrid 51, priority 130 (150 configured)\n"), "{page}");
        assert!(page.contains("    tracks   tcp 127.0.0.1:5432 FAILED (refused): priority -20\n"), "{page}");
        for expect in [
            "the edit 2 s ago was held back and will be tried again; this one stays:",
            "the edit 1 s ago waits for the peer to take it first",
            "tcp 127.0.0.1:5432 ok (refused)",
            "tcp 127.0.0.1:5432 unknown (refused): does not stand",
            "admin endpoint http://127.0.0.1:9127/",
        ] {
            assert!(render(&status).contains(&format!("\n             {expect}\n")), "{expect}");
        }
    }
}
