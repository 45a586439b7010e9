//! What a balancer does, request by request, as nginx does it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

mod properties;

use crate::balance::{Algorithm, Balancer, Outcome, Peer, PeerId, PeerSettings, Standing, Tried};

const ONE: PeerSettings = PeerSettings {
    weight: 1,
    backup: false,
    down: false,
    max_conns: 0,
    max_fails: 1,
    fail_timeout: Duration::from_secs(10),
};

fn peer(server: usize, settings: PeerSettings) -> Peer {
    let port = u16::try_from(server).unwrap();
    Peer { server, address: SocketAddr::from(([127, 0, 0, 1], port)), settings }
}

fn peers(settings: &[PeerSettings]) -> Vec<Peer> {
    settings.iter().enumerate().map(|(n, s)| peer(n, *s)).collect()
}

fn weights<const N: usize>(weights: [u16; N]) -> [PeerSettings; N] {
    weights.map(|weight| PeerSettings { weight, ..ONE })
}

/// An upstream whose servers are a, b, c..
struct Scene {
    balancer: Balancer,
    now: Instant,
    client: Option<IpAddr>,
}

impl Scene {
    fn new(algorithm: Algorithm, settings: &[PeerSettings]) -> Self {
        Self { balancer: Balancer::new(algorithm, peers(settings)), now: Instant::now(), client: None }
    }

    fn letter(&self, id: PeerId) -> char {
        char::from(b'a' + self.balancer.peer(id).unwrap().server as u8)
    }

    fn pick(&mut self, tried: &mut Tried) -> Option<PeerId> {
        let id = self.balancer.pick(self.now, tried, self.client, || 0, |_| true)?;
        self.balancer.begin(id);
        Some(id)
    }

    /// One request, which goes on to the next server while those that it meets are of the `failing`.
    fn request(&mut self, failing: &str) -> String {
        let mut tried = Tried::default();
        let mut path = String::new();
        loop {
            assert_eq!(
                self.balancer.has_another(self.now, &tried, |_| true),
                self.balancer
                    .clone()
                    .pick(self.now, &mut tried.clone(), self.client, || 0, |_| true)
                    .is_some()
            );
            let Some(id) = self.pick(&mut tried) else { return path + "-" };
            let letter = self.letter(id);
            path.push(letter);
            let failed = failing.contains(letter);
            self.balancer.end(id, if failed { Outcome::Failure } else { Outcome::Success }, self.now);
            if !failed {
                return path;
            }
        }
    }

    /// Steps apart by spaces: `+3` lets so many seconds pass, `!ab` says who fails from there on, anything else
    /// is the way of one request.
    #[track_caller]
    fn check(&mut self, steps: &str) {
        let mut failing = String::new();
        for (n, step) in steps.split_whitespace().enumerate() {
            match step.split_at(1) {
                ("+", seconds) => self.now += Duration::from_secs(seconds.parse().unwrap()),
                ("!", names) => failing = names.into(),
                _ => assert_eq!(self.request(&failing), step, "step {n} of {steps}"),
            }
        }
    }
}

#[track_caller]
fn check(settings: &[PeerSettings], steps: &str) {
    Scene::new(Algorithm::RoundRobin, settings).check(steps);
}

#[test]
fn turns() {
    check(&weights([5, 1, 1]), "a a b a c a a a a b");
    check(&weights([1, 1, 1]), "a b c a b c");
    check(&weights([2, 1]), "a b a a b a");
    check(&[ONE, PeerSettings { down: true, ..ONE }, ONE], "a c a c");
    check(&weights([0, 1]), "a b a b");
    check(&[], "-");
}

#[test]
fn a_server_that_fails_is_left_alone() {
    check(&weights([1, 1]), "!a ab b b +10 b b +1 b b ab b");
    check(&weights([1, 1]), "!a ab b +11 ! b b a b a");
    check(&weights([1, 1]), "!ab ab- - +10 - +1 ba- - +11 ! b b a b");
    check(&[PeerSettings { max_fails: 0, ..ONE }, ONE], "!a ab b ab b ab");
    let soon = PeerSettings { fail_timeout: Duration::from_millis(1_500), ..ONE };
    check(&[soon, ONE], "!a ab b +1 b +1 b +1 b b ab");
    let at_once = PeerSettings { fail_timeout: Duration::ZERO, ..ONE };
    check(&[at_once, ONE], "!a ab b b +1 b b ab");
}

/// With every failure a server loses a part of its weight, and wins one back with every turn.
#[test]
fn a_server_that_fails_has_fewer_turns() {
    let two = |weight| PeerSettings { weight, max_fails: 2, ..ONE };
    check(&[two(2), two(1)], "!a ab b ab b b +11 b ! a b a a b a");
}

/// Failures that are further apart than `fail_timeout` do not add up, if there was a success between them.
#[test]
fn failures_add_up_for_a_while() {
    let two = PeerSettings { max_fails: 2, ..ONE };
    check(&[two, two], "!a ab ! b a +5 b a !a b ab b b");
    check(&[two, two], "!a ab ! b +11 a b !a ab b ab b b b");
}

#[test]
fn who_is_alone_is_never_ejected() {
    check(&[ONE], "!a a- a- a- ! a");
    check(&[PeerSettings { down: true, ..ONE }], "-");
    let mut scene = Scene::new(Algorithm::RoundRobin, &[PeerSettings { max_conns: 1, ..ONE }]);
    assert!(scene.pick(&mut Tried::default()).is_some());
    assert_eq!(scene.pick(&mut Tried::default()), None);
}

#[test]
fn backups_wait_until_no_other_is_left() {
    let backup = PeerSettings { backup: true, ..ONE };
    check(&[ONE, backup, ONE], "a c !ac acb b b ! +10 b +1 c c a c");
    check(&[ONE, backup], "a !a ab b b +11 ab !ab b- -");
    check(&[backup, backup], "a b !a ab b b");
    let mut scene = Scene::new(Algorithm::RoundRobin, &[PeerSettings { max_conns: 1, ..ONE }, backup]);
    let ids: Vec<_> = (0..3).map(|_| scene.pick(&mut Tried::default()).unwrap()).collect();
    assert_eq!(ids.iter().map(|id| scene.letter(*id)).collect::<String>(), "abb");
    scene.balancer.end(ids[0], Outcome::Neutral, scene.now);
    scene.check("a a");
}

#[test]
fn one_request_probes() {
    let mut scene = Scene::new(Algorithm::RoundRobin, &weights([1, 1]));
    scene.check("!a ab b +11");
    let mut probing = None;
    for _ in 0..10 {
        let id = scene.pick(&mut Tried::default()).unwrap();
        if scene.letter(id) == 'a' {
            assert_eq!(probing.replace(id), None, "a second probe");
        }
    }
    scene.balancer.end(probing.unwrap(), Outcome::Success, scene.now);
    scene.check("! b a b a");
}

#[test]
fn least_connections() {
    let mut scene = Scene::new(Algorithm::LeastConn, &weights([2, 1, 1]));
    scene.check("a b c a");
    let mut scene = Scene::new(Algorithm::LeastConn, &weights([2, 1, 1]));
    let mut ids = Vec::new();
    for expect in "abcacaba".chars() {
        let id = scene.pick(&mut Tried::default()).unwrap();
        assert_eq!(scene.letter(id), expect, "{}", ids.len());
        ids.push(id);
    }
    scene.balancer.end(ids[2], Outcome::Success, scene.now);
    scene.balancer.end(ids[6], Outcome::Success, scene.now);
    scene.check("b b c !c b cb !a b");
}

/// Draws land in the parts of the sum of all weights; what cannot be had is drawn anew, at most 20 times.
#[test]
fn the_less_busy_of_two() {
    let table: [(&[u64], &str); 6] = [
        (&[0, 5], "b"),
        (&[4, 5], "b"),
        (&[5, 0], "a"),
        (&[6, 12], "b"),
        (&[0, 4, 7, 6], "c"),
        (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "a"),
    ];
    for (draws, expect) in table {
        let mut scene = Scene::new(Algorithm::Random, &weights([5, 1, 1]));
        let mut draws = draws.iter().copied();
        let draw = || draws.next().unwrap();
        let id = scene.balancer.pick(scene.now, &mut Tried::default(), None, draw, |_| true).unwrap();
        assert_eq!(scene.letter(id).to_string(), expect);
        assert_eq!(draws.next(), None);
    }
    let mut scene = Scene::new(Algorithm::Random, &weights([1, 1, 1]));
    let drawn = |scene: &mut Scene, draws: [u64; 2]| {
        let mut draws = draws.into_iter();
        let draw = || draws.next().unwrap();
        let id = scene.balancer.pick(scene.now, &mut Tried::default(), None, draw, |_| true).unwrap();
        scene.balancer.begin(id);
        scene.letter(id)
    };
    assert_eq!(drawn(&mut scene, [0, 1]), 'b');
    assert_eq!(drawn(&mut scene, [0, 1]), 'a');
    assert_eq!(drawn(&mut scene, [2, 1]), 'c', "the first is less busy");
    assert_eq!(drawn(&mut scene, [2, 1]), 'b', "equally busy");
}

/// From 89 on, with each octet `hash * 113 + octet`, of which 6271 is taken as often as it goes; for 10.0.0:
/// 3796, 2520, 2565; who fails leaves it to 2928, 4772, 1753; then 5403 and 5523 for `a` again, 4582 and 4070.
#[test]
fn one_client_one_server() {
    let table = [
        (Some("10.0.0.1"), "a !a ab b !ab bc c +11 abc c"),
        (Some("10.0.0.200"), "a a a"),
        (Some("192.0.2.1"), "a !a ab !b bc c"),
        (Some("172.16.0.9"), "c !c cb !b ba !a a-"),
        (Some("8.8.8.8"), "c !c cb"),
        (Some("2001:db8::1"), "c c"),
        (None, "b !b ba"),
    ];
    for (client, steps) in table {
        let mut scene = Scene::new(Algorithm::IpHash, &weights([1, 1, 1]));
        scene.client = client.map(|c| c.parse().unwrap());
        scene.check(steps);
    }
}

#[test]
fn what_is_known_of_a_peer_outlives_a_change() {
    let mut scene = Scene::new(Algorithm::RoundRobin, &weights([1, 1, 1]));
    scene.check("!a ab c b");
    let mut tried = Tried::default();
    let ids: Vec<_> = (0..2).map(|_| scene.pick(&mut tried).unwrap()).collect();
    assert_eq!(ids.iter().map(|id| scene.letter(*id)).collect::<String>(), "cb");
    // b left, d came, c and a changed places.
    let moved = |server, was| Peer { server, ..peer(was, ONE) };
    scene.balancer.replace(vec![moved(0, 2), moved(1, 0), moved(2, 3)]);
    assert_eq!(scene.balancer.peer(ids[1]), None);
    assert_eq!(scene.balancer.peer(ids[0]).unwrap().address, peer(2, ONE).address);
    let standings = |scene: &Scene| {
        let row = |(peer, s): (&Peer, Standing)| (peer.address.port(), s.connections, s.ejected);
        scene.balancer.standings().map(row).collect::<Vec<_>>()
    };
    assert_eq!(standings(&scene), [(2, 1, false), (0, 0, true), (3, 0, false)]);
    let third = scene.pick(&mut tried).unwrap();
    assert_eq!(scene.letter(third), 'c', "the only one that this request has not tried");
    assert_eq!(scene.pick(&mut tried), None);
    for id in [ids[1], ids[0], third] {
        scene.balancer.end(id, Outcome::Failure, scene.now);
    }
    scene.balancer.begin(ids[1]);
    assert_eq!(standings(&scene), [(2, 0, true), (0, 0, true), (3, 0, true)]);
    scene.balancer.replace(vec![]);
    scene.balancer.end(ids[0], Outcome::Failure, scene.now);
    scene.check("-");
    scene.balancer.replace(peers(&[ONE]));
    assert_eq!(standings(&scene), [(0, 0, false)]);
}

#[test]
fn several_addresses_of_one_server() {
    let at = |server, port| Peer { server, address: ([127, 0, 0, 1], port).into(), settings: ONE };
    let mut balancer = Balancer::new(Algorithm::RoundRobin, vec![at(0, 1), at(1, 1), at(0, 2)]);
    let now = Instant::now();
    let next = |balancer: &mut Balancer| {
        let id = balancer.pick(now, &mut Tried::default(), None, || 0, |peer| peer.server == 0).unwrap();
        balancer.peer(id).unwrap().clone()
    };
    assert_eq!([1, 2, 3].map(|_| next(&mut balancer)), [at(0, 1), at(0, 2), at(0, 1)]);
    // The same address counts for each server apart.
    let ids = [1, 2, 3].map(|_| {
        let id = balancer.pick(now, &mut Tried::default(), None, || 0, |_| true).unwrap();
        balancer.begin(id);
        id
    });
    let server = |balancer: &Balancer, id| balancer.peer(id).unwrap().server;
    let before = ids.map(|id| server(&balancer, id));
    balancer.replace(vec![at(1, 1), at(0, 2), at(0, 1)]);
    assert_eq!(ids.map(|id| server(&balancer, id)), before);
    assert!(balancer.standings().all(|(_, s)| s.connections == 1));
}
