//! Whom each virtual router has for peers. Their proxies are asked for an answer: a node that holds an address applies an
//! edit after those who would serve if it failed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Instant;

use tokio::task::JoinSet;

use super::door;
use super::instance::Instance;
use super::peering::Peering;
use super::resolver::{Others, Resolver};
use super::shell::Shell;
use crate::config::{Host, Transport};
use crate::link::{FromVrrp, PeersAnswer, VrrpState};
use crate::net::{Family, is_link_local};

/// Peers that are asked; a virtual router has a handful.
const PEERS_MAX: usize = 16;
/// Ports that are tried at each.
const PORTS_MAX: usize = 4;

/// A list of peers may hold every node: a node leaves itself out.
pub(super) fn assign(instances: &mut [Instance], resolver: &mut Resolver, shell: &mut Shell) {
    let now = Instant::now();
    let own: Vec<IpAddr> = shell.survey.addresses.iter().map(|own| own.cidr.address()).collect();
    for instance in instances {
        let Transport::Unicast { peers } = &instance.config.transport else {
            instance.set_peers(vec![], Others::Perhaps, shell, now);
            continue;
        };
        let family = instance.config.family();
        let addresses_of = |host: &Host| resolver.addresses(host, family);
        let mut addresses: Vec<IpAddr> =
            peers.iter().flat_map(addresses_of).filter(|a| !own.contains(a)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let unknown: Vec<String> = peers
            .iter()
            .filter(|host| addresses_of(host).is_empty())
            .filter_map(|host| Some(format!("{host} ({})", resolver.problem(host, family)?)))
            .collect();
        let others = resolver.others(peers, family, &own, now);
        if others == Others::Nameless {
            resolver.await_others(peers);
        }
        let result = if unknown.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "peers that cannot be found, and are not heard until they are: {}",
                unknown.join(", ")
            ))
        };
        shell.warnings.set(&instance.config.name, "peers", result, now);
        instance.set_peers(addresses, others, shell, now);
    }
}

/// The answer goes to PID 1, at once where there is nobody to ask.
pub(super) fn ask(
    question: u64,
    listen: &[SocketAddr],
    instances: &[Instance],
    peering: &Peering,
    shell: &Shell,
) {
    let now = Instant::now();
    let goes_last = goes_last(instances.iter().filter(|instance| !instance.leaving).map(|instance| {
        let id = (instance.config.family(), instance.config.vrid.get());
        let fails = |peer: &IpAddr| peering.is_in_fault(*peer, id, now);
        Router {
            id,
            state: instance.machine.state(),
            is_shared: !instance.peers.is_empty(),
            peers_fail: instance.peers.iter().all(fails),
        }
    }));
    let masters = instances.iter().filter(|i| i.is_master());
    let doors: BTreeMap<IpAddr, Vec<SocketAddr>> = masters
        .flat_map(|instance| instance.peers.iter().map(|peer| (*peer, instance.scope())))
        .map(|(peer, scope)| (peer, doors(peer, scope, listen, &shell.virtual_addresses)))
        .filter(|(_, doors)| !doors.is_empty())
        .take(PEERS_MAX)
        .collect();
    if !goes_last || doors.is_empty() {
        shell.tell(FromVrrp::Peers { question, answer: PeersAnswer { goes_last, answered: vec![] } });
        return;
    }
    let outbox = shell.outbox();
    // Ends within the patience of a knock, or with the role.
    drop(tokio::spawn(async move {
        let mut knocks = JoinSet::new();
        for (peer, doors) in doors {
            for door in doors {
                knocks.spawn(async move { door::knock(door).await.map(|()| peer) });
            }
        }
        let answered: BTreeSet<IpAddr> = knocks.join_all().await.into_iter().flatten().collect();
        let answer = PeersAnswer { goes_last, answered: answered.into_iter().collect() };
        // PID 1 that reads nothing is gone, and so is whoever wanted to know.
        let _ = outbox.send(FromVrrp::Peers { question, answer }).await;
    }));
}

/// One that this node plays.
#[derive(Clone, Copy, Debug)]
struct Router {
    id: (Family, u8),
    state: VrrpState,
    /// There are peers that can be asked. A group's are nobody's to ask.
    is_shared: bool,
    /// All of those say that they are in fault.
    peers_fail: bool,
}

/// Of two nodes that hold one address each, one has to say so and the other must not, and their addresses are of no use
/// for that: a node has another one in each family. So both look at the same virtual router, the first that both play,
/// and who is its master goes last. Where one of them is in fault for each, what they share has to do. Of a peer's fault
/// only its link tells.
fn goes_last(routers: impl Iterator<Item = Router>) -> bool {
    let plays = |router: &Router| router.state != VrrpState::Fault && !router.peers_fail;
    let shared = routers.filter(|router| router.is_shared);
    let decides = shared.min_by_key(|router| (!plays(router), router.id));
    decides.is_some_and(|router| router.state == VrrpState::Master)
}

/// Where a peer that has the same file listens, whatever its own address. `scope`: the interface that it is on, which
/// link-local addresses are of no use without.
fn doors(peer: IpAddr, scope: u32, listen: &[SocketAddr], virtual_addresses: &[IpAddr]) -> Vec<SocketAddr> {
    let is_asked = |address: &&SocketAddr| {
        let ip = address.ip();
        Family::of(ip) == Family::of(peer) && !ip.is_loopback() && !virtual_addresses.contains(&ip)
    };
    let ports: BTreeSet<u16> = listen.iter().filter(is_asked).map(SocketAddr::port).collect();
    let door = |port| match peer {
        IpAddr::V6(peer) if is_link_local(peer.into()) => SocketAddrV6::new(peer, port, 0, scope).into(),
        _ => SocketAddr::new(peer, port),
    };
    ports.into_iter().take(PORTS_MAX).map(door).collect()
}

impl Instance {
    /// The index of its interface; 0: it has none.
    fn scope(&self) -> u32 {
        self.wire.as_ref().map_or(0, |wire| wire.place.index)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::super::kernel::Kernel;
    use super::super::tests::instance;
    use super::*;
    use crate::config::VrrpInstance;
    use crate::net::Priority;
    use crate::os::netns;

    /// Of a master that nobody else is known to and that stood still for longer than a peer waits.
    #[test]
    fn who_is_alone_under_a_name_may_have_been_joined() {
        netns::with("who_is_alone_under_a_name_may_have_been_joined", || {
            netns::loopback_up();
            let own = IpAddr::from([127, 0, 0, 1]);
            let (name, address) = (Host::Name("gateway".to_owned()), Host::Address(own));
            let table = [
                (vec![address.clone()], VrrpState::Master),
                (vec![name.clone()], VrrpState::Backup),
                (vec![address, name], VrrpState::Backup),
            ];
            for (peers, expect) in table {
                let (outbox, _kept) = mpsc::channel(64);
                let mut shell = Shell::new(Kernel::open().unwrap(), outbox);
                let now = Instant::now();
                shell.survey(now);
                let (answers, _kept) = mpsc::channel(1);
                let mut resolver = Resolver::new(answers);
                resolver.want(peers.iter(), now);
                resolver.pretend_answer("gateway", vec![own], now);
                let what = format!("{peers:?}");
                let transport = Transport::Unicast { peers };
                let owner = VrrpInstance { priority: Priority::OWNER, transport, ..instance("10.9.0.99/24") };
                let mut instances = [Instance::start(owner, &mut shell, now)];
                assign(&mut instances, &mut resolver, &mut shell);
                let [router] = &mut instances;
                let now = Instant::now();
                router.machine.handle_eligible(Ok(()), now);
                router.machine.handle_interface(Some(own), now);
                // Nothing of it is done: the kernel could not.
                while router.machine.poll_output().is_some() {}
                assert_eq!(router.machine.state(), VrrpState::Master);
                router.machine.handle_unknown_advert(now + Duration::from_millis(800));
                assert_eq!(router.machine.state(), expect, "{what}");
                router.leave(&mut shell, Instant::now());
            }
        });
    }

    /// `v4 51 master`, then what makes it another one: `lone`, or `peer-fails`.
    fn router(text: &str) -> Router {
        let words: Vec<&str> = text.split(' ').collect();
        let state = match words[2] {
            "master" => VrrpState::Master,
            "backup" => VrrpState::Backup,
            _ => VrrpState::Fault,
        };
        Router {
            id: (if words[0] == "v4" { Family::V4 } else { Family::V6 }, words[1].parse().unwrap()),
            state,
            is_shared: !words.contains(&"lone"),
            peers_fail: words.contains(&"peer-fails"),
        }
    }

    /// Of a pair: what each node plays, and who goes last.
    #[test]
    fn one_of_a_pair_goes_last() {
        type Row<'a> = (&'a [&'a str], &'a [&'a str], (bool, bool));
        let table: [Row<'_>; 11] = [
            (&[], &[], (false, false)),
            (&["v4 51 master"], &["v4 51 backup"], (true, false)),
            (&["v4 51 backup"], &["v4 51 backup"], (false, false)),
            (&["v4 51 master peer-fails"], &["v4 51 fault"], (true, false)),
            // Each holds one, in whatever order they are written.
            (&["v4 51 master", "v4 52 backup"], &["v4 52 master", "v4 51 backup"], (true, false)),
            (&["v4 51 master", "v6 51 backup"], &["v4 51 backup", "v6 51 master"], (true, false)),
            (&["v6 7 master", "v4 51 backup"], &["v6 7 backup", "v4 51 master"], (false, true)),
            // In fault for one.
            (&["v4 51 master peer-fails", "v6 51 backup"], &["v4 51 fault", "v6 51 master"], (false, true)),
            // In fault for one each.
            (
                &["v4 51 master peer-fails", "v6 51 fault"],
                &["v4 51 fault", "v6 51 master peer-fails"],
                (true, false),
            ),
            // One that the other node does not have.
            (&["v4 9 master lone", "v4 51 backup"], &["v4 51 master"], (false, true)),
            (&["v4 9 master lone"], &[], (false, false)),
        ];
        for (a, b, expect) in table {
            let last = |texts: &[&str]| goes_last(texts.iter().map(|text| router(text)));
            assert_eq!((last(a), last(b)), expect, "{a:?} {b:?}");
        }
    }

    #[test]
    fn where_a_peer_is_asked() {
        let virtual_addresses = ["10.0.0.99", "2001:db8::99"].map(|a| a.parse().unwrap());
        let all = ["0.0.0.0:80", "10.0.0.2:81", "0.0.0.0:80", "[::]:82"];
        let table: [(&str, &[&str], &[&str]); 6] = [
            ("10.0.0.3", &all, &["10.0.0.3:80", "10.0.0.3:81"]),
            ("10.0.0.3", &["127.0.0.1:80", "10.0.0.99:81", "[::]:82"], &[]),
            (
                "10.0.0.3",
                &["0.0.0.0:5", "0.0.0.0:4", "0.0.0.0:3", "0.0.0.0:2", "0.0.0.0:1"],
                &["10.0.0.3:1", "10.0.0.3:2", "10.0.0.3:3", "10.0.0.3:4"],
            ),
            ("10.0.0.3", &[], &[]),
            ("2001:db8::3", &all, &["[2001:db8::3]:82"]),
            ("fe80::3", &["[::]:82", "[::1]:83", "[2001:db8::99]:84"], &["[fe80::3%7]:82"]),
        ];
        for (peer, listen, expect) in table {
            let listen: Vec<SocketAddr> = listen.iter().map(|a| a.parse().unwrap()).collect();
            let got = doors(peer.parse().unwrap(), 7, &listen, &virtual_addresses);
            let expect: Vec<SocketAddr> = expect.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(got, expect, "{peer} {listen:?}");
        }
    }
}
