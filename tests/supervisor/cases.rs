//! What PID 1 does when a role dies, hangs, refuses or babbles, when an edit comes, and when it is told to stop.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use vipgate::link::Generation;
use vipgate::link::control::RoleState;

use crate::edits::{admin, after_its_peer, held_back, without_a_file};
use crate::node::{Node, Options, document, free_port, send, write};
use crate::runner::{Case, Outcome, Skipped};
use crate::{drill, hooks, posts};

pub(crate) const ALL: &[Case] = &[
    ("a_proxy_that_dies_is_back_and_refuses_nobody", proxy_crash),
    ("a_proxy_that_is_frozen_is_noticed_and_replaced", proxy_freeze),
    ("one_stuck_worker_is_a_hung_proxy", stuck_worker),
    ("a_vrrp_role_that_dies_or_hangs_is_replaced", vrrp_trouble),
    ("a_role_that_babbles_is_replaced", babble),
    ("a_role_that_dies_again_and_again_never_ends_pid_1", crash_loop),
    ("a_frozen_pid_1_blames_nobody", frozen),
    ("both_roles_take_an_edit_or_neither", reload),
    ("an_invalid_edit_changes_nothing_and_is_reported", invalid_edit),
    ("an_address_that_is_taken_is_a_refused_edit", taken_address),
    ("an_edit_refused_for_now_is_tried_again_quietly", tried_again),
    ("an_address_that_comes_back_is_given_again", address_comes_back),
    ("edits_are_seen_however_they_are_made", ways_to_edit),
    ("a_turned_link_is_an_edit", turned_link),
    ("a_hang_up_reads_at_once", hang_up),
    ("the_vrrp_role_comes_with_the_first_router", first_router),
    ("a_fence_query_finds_its_way", fence_query),
    ("a_stop_goes_in_order", stop),
    ("a_second_stop_cuts_short", second_stop),
    ("the_end_of_pid_1_ends_the_roles", orphaned_roles),
    ("every_orphan_is_reaped", orphans),
    ("a_node_starts_without_a_file", without_a_file),
    ("the_admin_endpoint_has_one_socket_and_asks_for_the_status", admin),
    ("the_master_applies_an_edit_after_its_peer", after_its_peer),
    ("an_edit_that_has_silenced_the_peer_is_held_back", held_back),
    ("hooks_run_in_order_and_without_capabilities", hooks::in_order),
    ("a_hook_that_hangs_is_ended_and_holds_up_nothing", hooks::hung),
    ("a_stop_is_told_to_its_hook_in_time", hooks::stop),
    ("a_runner_that_dies_takes_its_hooks_along_and_comes_back", hooks::runner_death),
    ("hooks_change_in_place_and_a_lost_router_is_stopped", hooks::edits),
    ("a_webhook_is_tried_again_and_a_failure_is_told", posts::tried_again),
    ("a_change_of_state_is_mailed", posts::mailed),
    ("a_vrrp_role_that_dies_is_a_fault", hooks::vrrp_death),
    ("a_node_stands_still_for_a_drill_where_it_is_allowed", drill::stands_still),
    ("a_stop_ends_a_drill_s_freeze", drill::stop_ends_it),
    ("an_order_to_hand_over_is_a_wish", drill::hands_over),
];

pub(crate) const BOTH: Options =
    Options { without_vrrp: false, told: &[], as_init: false, linked: false, upstream: None, hooks: &[] };

/// A role with virtual routers needs capabilities.
pub(crate) fn privileged() -> Outcome {
    if geteuid().is_root() { Ok(()) } else { Err(Skipped("needs root, for NET_ADMIN and NET_RAW")) }
}

fn proxy_crash() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    let over = AtomicBool::new(false);
    let (asked, failed) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut asked, mut failed) = (0, vec![]);
            while !over.load(Ordering::Relaxed) {
                asked += 1;
                match node.ask() {
                    Ok(_) => (),
                    // It was being answered by the process that was killed.
                    Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => (),
                    Err(e) if e.kind() == std::io::ErrorKind::Other => (),
                    Err(e) => failed.push(e),
                }
            }
            (asked, failed)
        });
        for round in 1..=3 {
            let victim = node.wait_for("proxy commit 1", round).pid;
            send(victim, Signal::SIGKILL);
            node.wait_for("vrrp hears restarting", round);
            node.wait(&format!("vrrp hears serving {}", round + 1));
        }
        over.store(true, Ordering::Relaxed);
        client.join().unwrap()
    });
    assert!(asked > 3);
    assert!(failed.is_empty(), "{failed:?} of {asked}");
    assert_eq!(node.count("vrrp hears down"), 1, "only at the start");
    let status = node.until_status("a status", Some);
    assert_eq!(status.proxy.incarnation, 4);
    assert!(status.proxy.last_end.unwrap().contains("was killed by SIGKILL"));
    Ok(())
}

/// A connection that comes while nobody accepts waits in the backlog.
fn proxy_freeze() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    let victim = node.wait("proxy commit 1").pid;
    let start = Instant::now();
    send(victim, Signal::SIGSTOP);
    node.wait("vrrp hears restarting");
    println!("  noticed after {:?}", start.elapsed());
    node.wait("vrrp hears serving 2");
    assert_ne!(node.ask().unwrap(), victim);
    assert_eq!(node.count("vrrp starts"), 1);
    Ok(())
}

fn stuck_worker() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    node.tell("proxy.stuck");
    node.wait("vrrp hears restarting");
    node.untell("proxy.stuck");
    node.wait_for("proxy commit 1", 2);
    node.until_status("its reason", |s| {
        s.proxy.last_end?.contains("event loop 1 has not turned").then_some(())
    });
    Ok(())
}

fn vrrp_trouble() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    for (round, signal) in [(1, Signal::SIGKILL), (2, Signal::SIGSTOP), (3, Signal::SIGABRT)] {
        let victim = node.wait_for("vrrp commit 1", round).pid;
        send(victim, signal);
        node.wait_for("vrrp commit 1", round + 1);
        node.wait_for("vrrp hears serving 1", round + 1);
    }
    assert_eq!(node.count("proxy starts"), 1);
    Ok(())
}

fn babble() -> Outcome {
    let options = Options { without_vrrp: true, told: &["proxy.babble"], ..BOTH };
    let node = Node::start(options);
    node.wait_for("proxy starts", 2);
    node.untell("proxy.babble");
    node.wait("proxy commit 1");
    Ok(())
}

fn crash_loop() -> Outcome {
    privileged()?;
    let mut node = Node::start(Options { told: &["proxy.crash", "vrrp.crash"], ..BOTH });
    node.wait_for("proxy starts", 6);
    node.wait_for("vrrp starts", 6);
    assert!(node.is_running());
    let status = node.until_status("a status", Some);
    assert_eq!(status.proxy.last_end.as_deref(), Some("exited with code 3"));
    assert!(status.health(None).is_err());
    node.untell("proxy.crash");
    node.untell("vrrp.crash");
    // An edit is a reason to try again at once.
    node.write_config(&node.document("second"));
    node.wait("proxy commit");
    node.wait("vrrp hears serving");
    node.until_status("health", |s| s.health(None).ok());
    Ok(())
}

fn frozen() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    let roles = [node.wait("proxy commit 1").pid, node.wait("vrrp commit 1").pid];
    // PID 1 alone, then everybody, as `docker pause` does: for longer than a hang takes to be noticed.
    let supervisor = [node.pid()];
    for frozen in [&supervisor[..], &[node.pid(), roles[0], roles[1]][..]] {
        frozen.iter().for_each(|pid| send(*pid, Signal::SIGSTOP));
        std::thread::sleep(Duration::from_millis(1500));
        frozen.iter().for_each(|pid| send(*pid, Signal::SIGCONT));
        // It has looked at them since.
        let before = node.until_status("a status", Some).now;
        node.until_status("time", |s| (s.now.0 > before.0 + 1_000_000_000).then_some(()));
    }
    assert_eq!((node.count("proxy starts"), node.count("vrrp starts")), (1, 1));
    assert_eq!(node.count("vrrp hears"), 2, "down at the start, serving since");
    Ok(())
}

fn reload() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    node.write_config(&node.document("second"));
    for role in ["proxy", "vrrp"] {
        node.wait(&format!("{role} prepare 2 second"));
        node.wait(&format!("{role} commit 2"));
    }
    node.until_status("generation 2", |s| (s.config.generation == Generation(2)).then_some(()));
    for (generation, refuser) in [(3, "proxy"), (4, "vrrp")] {
        let told = format!("{refuser}.refuse");
        node.tell(&told);
        node.write_config(&node.document(&format!("edit-{generation}")));
        for role in ["proxy", "vrrp"] {
            node.wait(&format!("{role} prepare {generation} edit"));
            node.wait(&format!("{role} abort {generation}"));
        }
        let refused = node.until_status("the refusal", |s| {
            s.config
                .refused
                .filter(|r| r.problems.contains(&format!("the {refuser} role refused it: told to")))
        });
        assert!(refused.at.0 > 0);
        node.untell(&told);
    }
    let status = node.until_status("a status", Some);
    assert_eq!((status.config.generation, status.node.as_str()), (Generation(2), "second"));
    assert!(
        node.journal().iter().all(|l| !l.what.starts_with("commit 3") && !l.what.starts_with("commit 4"))
    );
    // Whoever starts meanwhile starts by what is in force.
    send(node.wait("proxy commit 2").pid, Signal::SIGKILL);
    node.wait_for("proxy prepare 2 second", 2);
    Ok(())
}

fn invalid_edit() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, ..BOTH });
    node.write_config("node: second\nserver: []\nworkers: many\n");
    let refused = node.until_status("the refusal", |s| s.config.refused);
    for place in ["vipgate.yaml:2:1:", "vipgate.yaml:3:10:", "help:"] {
        assert!(refused.problems.contains(place), "{place}: {}", refused.problems);
    }
    assert_eq!(node.status().unwrap().config.generation, Generation(1));
    assert_eq!(node.count("proxy prepare"), 1);
    node.write_config(&document("third", node.port, false));
    node.until_status("the remedy", |s| (s.node == "third" && s.config.refused.is_none()).then_some(()));
    Ok(())
}

fn taken_address() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, ..BOTH });
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    node.write_config(&document("second", port, false));
    let refused = node.until_status("the refusal", |s| s.config.refused);
    assert!(
        refused.problems.contains(&format!("127.0.0.1:{port}: Address already in use")),
        "{}",
        refused.problems
    );
    assert!(refused.problems.contains("another program listens there"));
    drop(taken);
    node.signal(Signal::SIGHUP);
    node.until_status("the second try", |s| (s.node == "second").then_some(()));
    // The old address is let go of.
    node.until("the old socket", || std::net::TcpListener::bind(("127.0.0.1", node.port)).ok());
    Ok(())
}

fn tried_again() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, ..BOTH });
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    node.write_config(&document("second", port, false));
    let first = node.until_status("the refusal", |s| s.config.refused);
    assert!(first.is_retried);
    // Two more tries, of which the log says nothing.
    let later = first.at.0 + 11_000_000_000;
    let refused = node.until_status("time", |s| s.config.refused.filter(|_| s.now.0 > later));
    assert_eq!(refused.problems, first.problems);
    assert!(refused.at.0 < first.at.0 + 4_000_000_000, "it is the first one that is shown");
    assert_eq!(node.log().matches("the edit is refused").count(), 1, "{}", node.log());
    drop(taken);
    node.until_status("the last try", |s| (s.node == "second" && s.config.refused.is_none()).then_some(()));
    // What is wrong with the text itself stays wrong.
    node.write_config("nonsense");
    let refused = node.until_status("the refusal", |s| s.config.refused);
    assert!(!refused.is_retried);
    Ok(())
}

/// The third configuration is read while the first is in force, and applied after the second.
fn address_comes_back() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, ..BOTH });
    let [second, third] = [free_port(), free_port()];
    node.tell("proxy.hesitate");
    node.write_config(&document("second", second, false));
    node.wait("proxy prepare 2 second");
    let first = format!("[127.0.0.1:{}", node.port);
    let both = document("third", node.port, false).replace(&first, &format!("{first}, 127.0.0.1:{third}"));
    node.write_config(&both);
    node.until("the third to be read", || std::net::TcpStream::connect(("127.0.0.1", third)).ok());
    node.untell("proxy.hesitate");
    node.wait("proxy commit 2");
    node.wait(&format!("proxy closes 127.0.0.1:{}", node.port));
    node.wait("proxy commit 3");
    assert_eq!(node.count(&format!("proxy listener 127.0.0.1:{}", node.port)), 4, "two workers, twice");
    node.ask().unwrap();
    Ok(())
}

fn ways_to_edit() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, ..BOTH });
    let file = node.folder.join("etc/vipgate.yaml");
    let edit = |name: &str, how: &dyn Fn(&str)| {
        let start = Instant::now();
        how(&document(name, node.port, false));
        node.until_status(name, |s| (s.node == name).then_some(()));
        println!("  {name}: {:?}", start.elapsed());
    };
    edit("renamed", &|text| write(&file, text));
    edit("in-place", &|text| fs::write(&file, text).unwrap());
    edit("deleted-and-created", &|text| {
        fs::remove_file(&file).unwrap();
        fs::write(&file, text).unwrap();
    });
    edit("same-time-and-size", &|_| {
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, document("same-time-and-sizf", node.port, false)).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        fs::write(&file, document("same-time-and-size", node.port, false)).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    });
    // Gone is not empty: the last one stays, and it is said.
    fs::remove_file(&file).unwrap();
    node.until_status("the refusal", |s| s.config.refused.filter(|r| r.problems.contains("cannot be read")));
    edit("back", &|text| write(&file, text));
    Ok(())
}

fn turned_link() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, linked: true, ..BOTH });
    write(&node.folder.join("data-2/vipgate.yaml"), &document("second", node.port, false));
    let link = node.folder.join("etc/..data");
    std::os::unix::fs::symlink("../data-2", node.folder.join("etc/..next")).unwrap();
    fs::rename(node.folder.join("etc/..next"), link).unwrap();
    node.until_status("the second", |s| (s.node == "second").then_some(()));
    Ok(())
}

fn hang_up() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, ..BOTH });
    node.write_config("nonsense");
    let first = node.until_status("the refusal", |s| s.config.refused);
    node.signal(Signal::SIGHUP);
    node.until_status("a newer refusal", |s| s.config.refused.filter(|r| r.at > first.at));
    Ok(())
}

fn first_router() -> Outcome {
    privileged()?;
    let node = Node::serving(Options { without_vrrp: true, ..BOTH });
    assert!(node.until_status("a status", Some).vrrp.is_none());
    node.write_config(&node.document("second"));
    node.wait("vrrp commit 2");
    node.wait("vrrp hears serving 1");
    node.until_status("the role", |s| s.vrrp.filter(|v| v.state == RoleState::Serving));
    Ok(())
}

fn fence_query() -> Outcome {
    let alone = Node::serving(Options { without_vrrp: true, told: &["proxy.ask"], ..BOTH });
    alone.wait("proxy verdict 7 true");
    privileged()?;
    let node = Node::serving(Options { told: &["proxy.ask"], ..BOTH });
    node.wait("vrrp query 7");
    node.wait("proxy verdict 7 true");
    Ok(())
}

fn stop() -> Outcome {
    privileged()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut node = Node::serving(BOTH);
        node.signal(signal);
        assert_eq!(node.wait_exit().code(), Some(0));
        let journal = node.journal();
        let place =
            |text: &str| journal.iter().position(|l| format!("{} {}", l.role, l.what) == text).unwrap();
        assert!(place("vrrp resign") < place("proxy drain"));
        assert!(place("proxy drain") < place("proxy leaves"));
        assert!(place("proxy drain") < place("vrrp leaves"));
    }
    Ok(())
}

fn second_stop() -> Outcome {
    privileged()?;
    let mut node = Node::serving(Options { told: &["vrrp.cling"], ..BOTH });
    node.signal(Signal::SIGTERM);
    node.wait("vrrp resign");
    node.signal(Signal::SIGTERM);
    assert_eq!(node.wait_exit().code(), Some(0));
    assert_eq!(node.count("proxy drain"), 0);
    // And without the second one, the bound ends it.
    let mut node = Node::serving(Options { told: &["vrrp.cling"], ..BOTH });
    node.signal(Signal::SIGTERM);
    assert_eq!(node.wait_exit().code(), Some(0));
    assert_eq!(node.count("proxy drain"), 1);
    Ok(())
}

fn orphaned_roles() -> Outcome {
    privileged()?;
    let mut node = Node::serving(BOTH);
    node.signal(Signal::SIGKILL);
    assert_eq!(node.wait_exit().signal(), Some(9));
    node.wait("proxy leaves");
    node.wait("vrrp leaves");
    Ok(())
}

fn orphans() -> Outcome {
    privileged()?;
    for as_init in [true, false] {
        let mut node = Node::start(Options { told: &["proxy.orphans"], as_init, ..BOTH });
        node.wait("proxy has left orphans");
        node.wait("proxy commit 1");
        let supervisor = if as_init { only_child(&node) } else { node.pid() };
        // The orphans live for 0.2 s; what is left then are the two roles.
        node.until("no child but the roles", || (children(supervisor).len() == 2).then_some(()));
        assert!(children(supervisor).iter().all(|pid| !is_zombie(*pid)));
        send(supervisor, Signal::SIGTERM);
        assert_eq!(node.wait_exit().code(), Some(0));
    }
    Ok(())
}

fn only_child(node: &Node) -> u32 {
    node.until("unshare's child", || children(node.pid()).first().copied())
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists =
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    lists.flat_map(|l| l.split_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<_>>()).collect()
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| s.contains("State:\tZ"))
}
