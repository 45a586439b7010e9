//! `vipgate drill` from the client's place: what it does to a pair, what it says of it, and what others saw. And when it
//! does not begin.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use vipgate::drill::{Phase, Report};
use vipgate::link::VrrpState;

use crate::capture::Capture;
use crate::lan::{Lan, Namespace, until};
use crate::node::{Node, document};
use crate::probe::{Probe, nothing_was_lost};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
/// A busy machine must not make a node miss its own takeover bound.
const INTERVAL_S: f64 = 0.3;

/// A key, and the configuration of whoever drills.
struct Papers {
    folder: PathBuf,
}

impl Papers {
    fn write(lan: &Lan) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("vipgate-drill-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("key"), "0123456789abcdef".repeat(4)).unwrap();
        let papers = Self { folder };
        fs::write(papers.folder.join("vipgate.yaml"), papers.document(lan, 9, "drill: true", &[])).unwrap();
        papers
    }

    fn document(&self, lan: &Lan, last: u8, link: &str, lines: &[&str]) -> String {
        let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
        let lines = [&["advert_interval: 300ms", &peers], lines].concat();
        let key = self.folder.join("key");
        format!("link: {{key_file: {}, {link}}}\n{}", key.display(), document(lan, last, lan.vrid, &lines))
    }

    fn node(&self, lan: &Lan, last: u8, link: &str, lines: &[&str]) -> Node {
        Node::start_with(lan.attach(last), last, lan.vrid, &self.document(lan, last, link, lines))
    }

    /// Its exit code and what it said.
    fn drill(&self, from: &Namespace, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(VIPGATE);
        command.arg("drill").arg("--config").arg(&self.folder).args(arguments).env_remove("VIPGATE_LINK_KEY");
        let output = from.enter(|| command.output()).unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        // What is left over is in the way of nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn nothing_wrong(phase: &Phase) {
    assert_eq!((phase.double_answers, phase.moved), (Some(0), Some(true)), "{phase:?}");
    assert_eq!(phase.failed_later.total(), 0, "{phase:?}");
    assert!(phase.requests > 400 && phase.kept.requests > 100, "{phase:?}");
    assert!(phase.answered.len() == 2 && phase.answered.values().all(|n| *n > 100), "{phase:?}");
}

#[test]
fn a_planned_drill_loses_nothing_and_leaves_all_as_it_was() {
    let Some(lan) = Lan::for_test("planned drill") else { return };
    let papers = Papers::write(&lan);
    let holder = papers.node(&lan, 11, "drill: true", &["priority: 200"]);
    holder.becomes(VrrpState::Master);
    let other = papers.node(&lan, 12, "drill: true", &["priority: 100"]);
    other.becomes(VrrpState::Backup);
    until("a first move", || (holder.ask(&["failover"]).0 == Some(0)).then_some(()));
    until("it is back", || (other.ask(&["failover"]).0 == Some(0)).then_some(()));
    holder.becomes(VrrpState::Master);

    // Somebody else's word on what was lost.
    let probe = Probe::start(&lan);
    probe.answered_by("node11", 20);
    let (code, said) = papers.drill(&lan.bridge, &["--planned-only", "--max-gap", "3s", "--json"]);
    println!("{said}");
    assert_eq!(code, Some(0), "{said}");
    probe.answered_by("node11", 20);
    nothing_was_lost("drill", &probe.stop());
    let report: Report = serde_json::from_str(&said).unwrap();
    assert_eq!((report.holder.as_str(), &report.wrong, &report.freeze), ("node11", &vec![], &None));
    let planned = report.planned.unwrap();
    nothing_wrong(&planned);
    assert_eq!((planned.failed.total(), planned.kept.failed.total(), planned.late), (0, 0, 0), "{planned:?}");
    assert!(planned.kept.reopened >= 8, "each kept connection has moved: {planned:?}");
    holder.becomes(VrrpState::Master);
    other.becomes(VrrpState::Backup);
    assert!(holder.log().contains("orders a failover of web, for a drill"), "{}", holder.log());
    assert!(!holder.log().contains("stand still"), "{}", holder.log());
}

#[test]
fn a_frozen_master_is_replaced_and_its_gap_is_what_the_wire_shows() {
    let Some(lan) = Lan::for_test("freeze drill") else { return };
    let papers = Papers::write(&lan);
    // It does not take the address back by itself: the drill has to.
    let lines = |priority| [priority, "preempt: false"];
    let holder = papers.node(&lan, 11, "drill: true", &lines("priority: 200"));
    holder.becomes(VrrpState::Master);
    let other = papers.node(&lan, 12, "drill: true", &lines("priority: 100"));
    other.becomes(VrrpState::Backup);
    let capture = Capture::start(&lan);
    let start = capture.mark();

    let (code, said) = papers.drill(&lan.bridge, &["--freeze", "3s", "--max-gap", "3s", "--json"]);
    println!("{said}");
    assert_eq!(code, Some(0), "{said}");
    let report: Report = serde_json::from_str(&said).unwrap();
    let freeze = report.freeze.unwrap();
    nothing_wrong(&freeze);
    assert!(
        freeze.failed.total() + freeze.kept.failed.total() > 0,
        "what the frozen node had is lost: {freeze:?}"
    );
    holder.becomes(VrrpState::Master);
    other.becomes(VrrpState::Backup);

    // The last advert of the frozen one, and the first of who took over: the one that no release came before.
    let adverts: Vec<_> =
        capture.since(start).into_iter().filter(|frame| frame.priority().is_some()).collect();
    let taken: Vec<_> = adverts
        .windows(2)
        .filter(|pair| pair[0].from == holder.mac() && pair[1].from == other.mac())
        .filter(|pair| pair[0].priority() == Some(200) && pair[1].priority() == Some(100))
        .collect();
    assert_eq!(taken.len(), 1, "{adverts:?}");
    let silence = taken[0][1].at - taken[0][0].at;
    let gap = freeze.gap.as_secs_f64();
    println!("silent for {silence:.3} s, nobody answered for {gap:.3} s");
    // It can have lived for an interval after its last advert; answers begin after the takeover.
    assert!(gap >= silence - INTERVAL_S - 0.1 && gap <= silence + 1.0, "{gap} {silence}");

    // Nobody was killed or started again for it, and the process itself has noticed what became of it.
    let log = holder.log();
    assert!(log.contains("did not run for 3."), "{log}");
    assert_eq!(log.matches("is started as process").count(), 2, "{log}");
    assert!(log.contains("orders this node to stand still for 3s, for a drill"), "{log}");
}

#[test]
fn a_drill_begins_only_where_the_pair_is_whole_and_takes_orders() {
    let Some(lan) = Lan::for_test("no drill") else { return };
    let papers = Papers::write(&lan);
    let refused = |from: &Namespace, why: &str| {
        let (code, said) = papers.drill(from, &["--freeze", "200ms"]);
        assert!(code == Some(75) && said.contains(why), "{code:?} {said}");
    };
    let holder = papers.node(&lan, 11, "drill: true", &["priority: 200"]);
    holder.becomes(VrrpState::Master);
    refused(&lan.bridge, &format!("{}: it does not answer", lan.address(12)));
    let silent = papers.node(&lan, 12, "drill: false", &["priority: 100"]);
    silent.becomes(VrrpState::Backup);
    refused(
        &lan.bridge,
        &format!("{}: it hangs up without a greeting: `link: {{drill: true}}` is not", lan.address(12)),
    );
    drop(silent);
    refused(&lan.bridge, &format!("{}: ", lan.address(12)));

    let other = papers.node(&lan, 12, "drill: true", &["priority: 100"]);
    other.becomes(VrrpState::Backup);
    refused(&other.namespace, "this is one of the nodes");
    refused(&holder.namespace, "this is one of the nodes");
    until("the peer answers ARP", || (other.ask(&["drain"]).0 == Some(0)).then_some(()));
    refused(&lan.bridge, "cannot take over web: drained: takes no address until `vipgate drain --undo`");
    assert_eq!(other.ask(&["drain", "--undo"]).0, Some(0));
    other.becomes(VrrpState::Backup);

    // Another key, in the hands of whoever drills.
    let key = papers.folder.join("key");
    let right = fs::read(&key).unwrap();
    fs::write(&key, "another".repeat(8)).unwrap();
    refused(&lan.bridge, "another key");
    fs::remove_file(&key).unwrap();
    refused(&lan.bridge, "there is no key of the link");
    fs::write(&key, right).unwrap();
    let (code, said) = papers.drill(&lan.bridge, &["mail"]);
    assert!(code == Some(64) && said.contains("there is no virtual router mail, but web"), "{code:?} {said}");
    assert_eq!(holder.report().unwrap().state, VrrpState::Master, "nothing was touched");
    assert!(!holder.log().contains("for a drill"), "{}", holder.log());
}
