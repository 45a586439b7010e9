//! Lines through real pipes, which are read late, slowly, or never.

use std::collections::HashMap;
use std::io::{PipeReader, Read, pipe};

use super::*;

/// Nothing here takes longer; whoever does has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than pipe, channel and workers have room for together.
const MORE_THAN_FITS: u64 = 60_000;

fn write_line(log: &mut AccessLog, worker: usize, number: u64) {
    // Of many lengths, now and then longer than what is atomic.
    let length = if number % 501 == 500 { 9_000 } else { number as usize % 97 };
    log.line(|out| {
        out.extend_from_slice(format!("{worker} {number} {length} ").as_bytes());
        out.resize(out.len() + length, b'x');
        out.push(b'\n');
    });
}

/// Every line is whole, and those of a worker are in their order; how many there are.
fn check(text: &str) -> u64 {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        let [worker, number, length, rest] = parts[..] else { panic!("{line:?}") };
        assert_eq!(rest.len(), length.parse::<usize>().unwrap(), "{line:?}");
        let number = number.parse().unwrap();
        assert!(last.insert(worker, number).is_none_or(|before| before < number), "{line:?}");
    }
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().count() as u64
}

fn read(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn nobody_waits_for_a_reader_and_no_line_is_torn() {
    let (reader, out) = pipe().unwrap();
    let writer = Writer::start(out.into()).unwrap();
    let intake = writer.intake();
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let mut log = intake.worker();
            scope.spawn(move || {
                for number in 0..MORE_THAN_FITS {
                    write_line(&mut log, worker, number);
                    if number % 100 == 0 {
                        log.flush();
                    }
                }
            });
        }
    });
    assert!(intake.lost() > 0);
    let reading = std::thread::spawn(move || read(reader));
    assert!(writer.finish(PATIENCE));
    let arrived = check(&reading.join().unwrap());
    assert!(arrived > 0);
    assert_eq!(arrived + intake.lost(), 2 * MORE_THAN_FITS);
}

#[test]
fn a_reader_gets_every_line_also_from_a_pipe_that_does_not_block() {
    for nonblocking in [false, true] {
        let (reader, out) = pipe().unwrap();
        if nonblocking {
            crate::os::descriptor::set_nonblocking(out.as_fd()).unwrap();
        }
        let writer = Writer::start(out.into()).unwrap();
        let mut log = writer.intake().worker();
        for number in 0..2_000 {
            write_line(&mut log, 0, number);
        }
        let reading = std::thread::spawn(move || read(reader));
        drop(log);
        assert!(writer.finish(PATIENCE));
        assert_eq!(check(&reading.join().unwrap()), 2_000);
    }
}

#[test]
fn two_processes_do_not_write_into_each_other_s_lines() {
    let (reader, out) = pipe().unwrap();
    let writers = [out.try_clone().unwrap(), out].map(|out| Writer::start(out.into()).unwrap());
    let reading = std::thread::spawn(move || read(reader));
    for (worker, writer) in writers.iter().enumerate() {
        let mut log = writer.intake().worker();
        for number in 0..500 {
            write_line(&mut log, worker, number);
            log.flush();
        }
    }
    let lost: u64 = writers
        .into_iter()
        .map(|writer| {
            let intake = writer.intake();
            assert!(writer.finish(PATIENCE));
            intake.lost()
        })
        .sum();
    assert_eq!(check(&reading.join().unwrap()) + lost, 1_000);
}

#[test]
fn turns_hand_over_now_and_then() {
    let (_reader, out) = pipe().unwrap();
    let mut log = Writer::start(out.into()).unwrap().intake().worker();
    let start = Instant::now();
    for (ms, kept) in
        [(0, false), (1, true), (99, true), (100, false), (150, true), (400, false), (401, true)]
    {
        write_line(&mut log, 0, 1);
        log.turn(start + Duration::from_millis(ms));
        assert_eq!(log.lines > 0, kept, "{ms} ms");
    }
}

#[test]
fn the_end_does_not_wait_longer_than_it_may() {
    let (reader, out) = pipe().unwrap();
    let writer = Writer::start(out.into()).unwrap();
    let mut log = writer.intake().worker();
    for number in 0..MORE_THAN_FITS {
        write_line(&mut log, 0, number);
    }
    assert!(!writer.finish(Duration::from_millis(20)));
    drop(reader);
}

#[test]
fn a_closed_pipe_ends_the_log() {
    let (reader, out) = pipe().unwrap();
    drop(reader);
    let writer = Writer::start(out.into()).unwrap();
    let intake = writer.intake();
    let mut log = intake.worker();
    write_line(&mut log, 0, 0);
    log.flush();
    assert!(writer.finish(PATIENCE));
    assert_eq!(intake.lost(), 1);
    log.line(|_| panic!("nobody reads this"));
    drop(log);
}

#[test]
fn a_full_disk_costs_lines_and_is_said_seldom() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let writer = Writer::start(full.into()).unwrap();
    let intake = writer.intake();
    let mut log = intake.worker();
    for number in 0..3 {
        write_line(&mut log, 0, number);
    }
    drop(log);
    assert!(writer.finish(PATIENCE));
    let state = &intake.state;
    assert_eq!((intake.lost(), state.errno.load(Ordering::Relaxed)), (3, Errno::ENOSPC as i32));
    state.silent_until.store(0, Ordering::Relaxed);
    state.unsaid.store(3, Ordering::Relaxed);
    for (ms, more, expect) in [(5, 0, Some(3)), (9_000, 2, None), (10_004, 0, None), (10_005, 0, Some(2))] {
        state.unsaid.fetch_add(more, Ordering::Relaxed);
        assert_eq!(state.due(Duration::from_millis(ms)), expect, "{ms} ms");
    }
}

#[test]
fn text_is_cut_at_lines() {
    let long = [&[b'x'; 5_000][..], b"\ny\n"].concat();
    let table: [(&[u8], Option<usize>); 5] = [
        (b"", None),
        (b"a\nb\n", Some(4)),
        (&b"ab\n".repeat(2_000), Some(ATOMIC / 3 * 3)),
        (&long, Some(5_001)),
        (&[b'x'; 5_000], Some(5_000)),
    ];
    for (text, expect) in table {
        assert_eq!(first_lines(text).map(|(chunk, _)| chunk.len()), expect);
    }
}
