//! One worker's thread does not run: whoever connects must not notice.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::peers::Client;
use crate::stopped_thread::Stopped;
use crate::support::{PATIENCE, Port, Vipgate, alone, expect_none};

const CONNECTIONS: usize = 200;
/// The longest that a new connection may wait for its answer, beyond what the machine takes with all threads running.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// How long each of so many new connections waits for the first byte of its answer.
fn waits(address: SocketAddr) -> Vec<Duration> {
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let start = Instant::now();
            let mut client = Client::connect(address);
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            client.stream.set_nonblocking(true).unwrap();
            (start, client)
        })
        .collect();
    let end = Instant::now() + WAIT_MAX * 5;
    let mut waits = vec![None; CONNECTIONS];
    while Instant::now() < end && waits.contains(&None) {
        for (wait, (start, client)) in waits.iter_mut().zip(&clients).filter(|(wait, _)| wait.is_none()) {
            *wait = match client.stream.peek(&mut [0]) {
                Ok(1..) => Some(start.elapsed()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                // Cut off because PID 1 lost its patience with the process.
                Ok(0) | Err(_) => Some(Duration::MAX),
            };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    waits.into_iter().map(|wait| wait.unwrap_or(Duration::MAX)).collect()
}

#[test]
fn a_stopped_worker_keeps_nobody_waiting() {
    let _turn = alone();
    let port = Port::new();
    let vipgate = Vipgate::start(&format!(
        "node: node-1\nworkers: 2\nservers:\n  - listen: [\"{}\"]\n    routes: [{{path: /, respond: {{body: hello}}}}]\n",
        port.address
    ));
    let workers = vipgate.workers();
    assert_eq!(workers.len(), 2);
    let usual = waits(port.address).into_iter().max().unwrap();
    assert!(usual < Duration::MAX, "with all workers running");
    let mut complaints = vec![];
    for number in 0..workers.len() {
        let worker = vipgate.workers()[number];
        let stopped = match Stopped::new(worker) {
            Ok(stopped) => stopped,
            Err(error) => {
                println!("stopped: skipped, ptrace says {error}");
                return;
            }
        };
        let late = waits(port.address).into_iter().filter(|wait| *wait > WAIT_MAX + usual).count();
        drop(stopped);
        if late > 0 {
            complaints.push(format!(
                "{late} of {CONNECTIONS} waited for longer than {WAIT_MAX:?} for worker {worker}"
            ));
        }
        // It runs again, or another process has taken the place of its own.
        let end = Instant::now() + PATIENCE;
        while waits(port.address).contains(&Duration::MAX) || vipgate.workers().len() != 2 {
            assert!(Instant::now() < end, "{worker} does not run again");
        }
    }
    expect_none(&complaints);
}
