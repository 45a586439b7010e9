//! What tcpdump prints of every frame on the bridge. The only reading of it here is of tcpdump's words.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::lan::{Lan, until};

const FILTER: &str = "arp or ip proto 112 or udp";

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// When the kernel saw it, in seconds.
    pub(crate) at: f64,
    pub(crate) from: String,
    to: String,
    pub(crate) text: String,
}

impl Frame {
    fn parse(line: &str) -> Option<Self> {
        let (at, rest) = line.split_once(' ')?;
        let (from, rest) = rest.split_once(" > ")?;
        let (to, text) = rest.split_once(", ")?;
        Some(Self { at: at.parse().ok()?, from: from.into(), to: to.into(), text: text.into() })
    }

    pub(crate) fn is_broadcast(&self) -> bool {
        self.to == "ff:ff:ff:ff:ff:ff"
    }

    /// The priority of an advert.
    pub(crate) fn priority(&self) -> Option<u8> {
        let (_, rest) = self.text.split_once(": VRRPv")?;
        rest.split_once(", prio ")?.1.split([',', ' ']).next()?.parse().ok()
    }

    /// Claims the address to whoever asked, or to everybody.
    pub(crate) fn claims(&self, address: impl std::fmt::Display) -> bool {
        self.text.contains(&format!("Reply {address} is-at"))
            || self.text.ends_with(&format!("tell {address}, length 28"))
    }

    pub(crate) fn answers(&self, address: impl std::fmt::Display) -> bool {
        !self.is_broadcast() && self.text.contains(&format!("Reply {address} is-at {}", self.from))
    }
}

/// A place in the capture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    frame: usize,
    pub(crate) at: f64,
}

pub(crate) struct Capture<'l> {
    lan: &'l Lan,
    process: Child,
    frames: Arc<Mutex<Vec<Frame>>>,
    marks: AtomicU16,
}

impl<'l> Capture<'l> {
    /// Everything that passes the bridge, from its return on.
    pub(crate) fn start(lan: &'l Lan) -> Self {
        let mut command = Command::new("tcpdump");
        command.args(["-i", "br0", "-n", "-l", "-tt", "-e", "-vvv", "--immediate-mode", FILTER]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = lan.bridge.enter(|| command.spawn().unwrap());
        let frames = Arc::default();
        let (heard, output) = (Arc::clone(&frames), process.stdout.take().unwrap());
        thread::spawn(move || read(output, &heard));
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "tcpdump does not listen");
        }
        // Its last words are for nobody.
        thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
        Self { lan, process, frames, marks: AtomicU16::new(50_000) }
    }

    /// Everything that was sent before it is called is in the capture, and stands before the mark.
    pub(crate) fn mark(&self) -> Mark {
        let port = self.marks.fetch_add(1, Ordering::Relaxed);
        self.lan.bridge.enter(|| {
            let socket = UdpSocket::bind((self.lan.client(), 0)).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.send_to(b"mark", (self.lan.address(255), port)).unwrap();
        });
        let sought = format!(".255.{port}: ");
        until("a mark", || {
            let frames = self.frames.lock().unwrap();
            let frame = frames.iter().position(|frame| frame.text.contains(&sought))?;
            Some(Mark { frame: frame + 1, at: frames[frame].at })
        })
    }

    /// The frames up to this moment.
    pub(crate) fn all(&self) -> Vec<Frame> {
        let end = self.mark();
        self.frames.lock().unwrap()[..end.frame].to_vec()
    }

    pub(crate) fn since(&self, mark: Mark) -> Vec<Frame> {
        self.all().split_off(mark.frame)
    }

    /// Waits until there are `count` such frames behind the mark, and returns them.
    pub(crate) fn wait(
        &self,
        what: &str,
        mark: Mark,
        count: usize,
        is: impl Fn(&Frame) -> bool,
    ) -> Vec<Frame> {
        until(what, || {
            // The last one may still miss its second line.
            let frames = self.frames.lock().unwrap();
            let found: Vec<_> = frames[mark.frame..].iter().filter(|frame| is(frame)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits until this node has said for the last time that it has taken over: a second after the first, or a little
    /// less where the first was late. The step before it is half a second earlier.
    pub(crate) fn announced(&self, mark: Mark, mac: &str) {
        until("the last announcement", || {
            let frames = self.since(mark);
            let vip = self.lan.vip();
            let mut times =
                frames.iter().filter(|f| f.from == mac && f.is_broadcast() && f.claims(vip)).map(|f| f.at);
            let (first, last) = (times.next()?, times.next_back()?);
            (last - first >= 0.8).then_some(())
        });
    }

    /// Sums of UDP are left to the network card that a bridge does not have.
    pub(crate) fn complaints(&self) -> Vec<Frame> {
        let words = ["bad", "invalid", "truncated", "[|", "wrong"];
        let complains = |frame: &Frame| {
            !frame.text.contains("proto UDP") && words.iter().any(|word| frame.text.contains(word))
        };
        self.all().into_iter().filter(complains).collect()
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let frames = self.frames.lock().unwrap();
            let last = frames.len().saturating_sub(60);
            frames[last..].iter().for_each(|frame| println!("{frame:?}"));
        }
    }
}

/// A line that is indented belongs to the frame before it.
fn read(output: ChildStdout, frames: &Mutex<Vec<Frame>>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let mut frames = frames.lock().unwrap();
        match Frame::parse(&line) {
            Some(frame) if !line.starts_with([' ', '\t']) => frames.push(frame),
            Some(_) | None => {
                let last = frames.last_mut().unwrap_or_else(|| panic!("tcpdump says {line}"));
                last.text.push(' ');
                last.text.push_str(line.trim());
            }
        }
    }
}
