//! What is measured: workloads, opponents, and what vipgate must reach.

use std::path::PathBuf;

use crate::programs::{Program, Variant};
use crate::wrk::{Kind, Workload};

/// One line of the table that is demanded.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) measure: Measure,
    /// The ratio to the best opponent that must be reached, and the one to aim for.
    pub(crate) must: f64,
    pub(crate) goal: f64,
}

#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// CPU per request.
    Cost { workload: Workload, against: &'static [Opponent], workers: usize, log: bool },
    /// Memory with this many idle connections, each of which has made one request.
    Idle { connections: usize, against: &'static [Opponent] },
    /// User instructions per request; must and goal are numbers, where vipgate is not its own opponent.
    Instructions { against: &'static [Opponent] },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opponent {
    Nginx(Variant),
    Haproxy(Variant),
    /// vipgate with one route is the opponent of vipgate with many.
    OneRoute,
}

const PLAIN: &[Opponent] = &[Opponent::Nginx(Variant::Plain), Opponent::Haproxy(Variant::Plain)];
const BUFFERS: &[Opponent] = &[
    Opponent::Nginx(Variant::Buffers),
    Opponent::Haproxy(Variant::Buffers),
    Opponent::Haproxy(Variant::Plain),
];
const SPLICE: &[Opponent] = &[Opponent::Haproxy(Variant::Splice)];
const DEFERRED: &[Opponent] = &[Opponent::Nginx(Variant::Deferred), Opponent::Haproxy(Variant::Deferred)];
const ITSELF: &[Opponent] = &[Opponent::OneRoute];
const NGINX: &[Opponent] = &[Opponent::Nginx(Variant::Plain)];

/// Idle connections that fit beneath the usual limit of 20,000 descriptors, seen from both of their ends.
const IDLE: usize = 9_500;

const fn load(path: &'static str, connections: usize, kind: Kind) -> Workload {
    Workload { path, connections, kind }
}

const fn cost(workload: Workload, against: &'static [Opponent]) -> Measure {
    Measure::Cost { workload, against, workers: 1, log: false }
}

const fn logged(workload: Workload, against: &'static [Opponent]) -> Measure {
    Measure::Cost { workload, against, workers: 1, log: true }
}

const fn two_workers(workload: Workload, against: &'static [Opponent]) -> Measure {
    Measure::Cost { workload, against, workers: 2, log: false }
}

const fn row(name: &'static str, what: &'static str, measure: Measure, must: f64, goal: f64) -> Row {
    Row { name, what, measure, must, goal }
}

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    row("get1k", "GET 1 KiB, 64 connections", cost(load("/1k", 64, Kind::Get), PLAIN), 0.90, 0.82),
    row("get1k-256", "GET 1 KiB, 256 connections", cost(load("/1k", 256, Kind::Get), PLAIN), 0.90, 0.82),
    row("get1k-log", "GET 1 KiB, 64 connections, access log on", logged(load("/1k", 64, Kind::Get), PLAIN), 0.90, 0.82),
    row("post4k", "POST 4 KiB, 64 connections", cost(load("/1k", 64, Kind::Post), PLAIN), 0.92, 0.82),
    row("chunked1k", "chunked 1 KiB, 64 connections", cost(load("/c1k", 64, Kind::Get), PLAIN), 0.92, 0.84),
    row("chunked64k", "chunked 64 KiB, 64 connections", cost(load("/c64k", 64, Kind::Get), PLAIN), 0.80, 0.70),
    row("get64k", "GET 64 KiB, 64 connections", cost(load("/64k", 64, Kind::Get), PLAIN), 0.80, 0.72),
    row("get64k-tuned", "GET 64 KiB, opponents with large buffers", cost(load("/64k", 64, Kind::Get), BUFFERS), 1.0, 0.90),
    row("get1m", "GET 1 MiB, 8 connections", cost(load("/1m", 8, Kind::Get), PLAIN), 0.60, 0.50),
    row("get1m-splice", "GET 1 MiB, haproxy with splice", cost(load("/1m", 8, Kind::Get), SPLICE), 1.0, 0.90),
    row("close", "a connection per GET 1 KiB, 64 at once", cost(load("/1k", 64, Kind::Close), PLAIN), 0.85, 0.70),
    row("close-deferred", "the same, deferred accept everywhere", cost(load("/1k", 64, Kind::Close), DEFERRED), 1.0, 0.85),
    row("two-get1k", "two workers, GET 1 KiB", two_workers(load("/1k", 64, Kind::Get), PLAIN), 0.92, 0.85),
    row("two-close", "two workers, a connection per GET", two_workers(load("/1k", 64, Kind::Close), PLAIN), 1.0, 0.90),
    row("routes", "1000 routes and 100 hosts against one", cost(load("/1k", 64, Kind::Get), ITSELF), 1.05, 1.02),
    // A fifth of the CPU per request is user code: this is 4 % and 2 % of it, and no other load blurs it.
    row("routes-exactly", "the same by user instructions", Measure::Instructions { against: ITSELF }, 1.20, 1.10),
    row("idle", "memory with 9500 idle connections", Measure::Idle { connections: IDLE, against: NGINX }, 1.0, 0.85),
    row("instructions", "user instructions per GET 1 KiB", Measure::Instructions { against: PLAIN }, 16_000.0, 12_000.0),
];

/// vipgate first, then others like it, then its opponents.
pub(crate) fn programs(binary: &PathBuf, beside: &[(String, PathBuf)], against: &[Opponent]) -> Vec<Program> {
    let vipgate =
        |name: &str, binary: &PathBuf| Program::Vipgate { binary: binary.clone(), name: name.into() };
    let many = against.contains(&Opponent::OneRoute);
    let mut programs = vec![if many {
        Program::VipgateOfMany { binary: binary.clone() }
    } else {
        vipgate("vipgate", binary)
    }];
    if !many {
        programs.extend(beside.iter().map(|(name, binary)| vipgate(name, binary)));
    }
    programs.extend(against.iter().map(|opponent| match opponent {
        Opponent::Nginx(variant) => Program::Nginx(*variant),
        Opponent::Haproxy(variant) => Program::Haproxy(*variant),
        Opponent::OneRoute => vipgate("vipgate", binary),
    }));
    programs
}
