//! The same requests through vipgate, nginx and HAProxy: what the client and the origin see must be the same, but for
//! what a table says, with the reason.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::opponents::Opponent;
use crate::peers::{Client, Response, read_exactly};
use crate::recorder::{Observation, Recorder, fields};
use crate::support::{Port, Vipgate, expect_none};

/// The path of a request that finds out whether a connection goes on.
pub(crate) const PROBE: &str = "/probe";
/// One of the three may answer nothing at all.
const SILENCE: Duration = Duration::from_millis(1500);

pub(crate) enum Step {
    Send(String),
    /// Reads one answer, informational or not, to a request with this method.
    Answer(&'static str),
    /// Reads answers up to the final one.
    Final(&'static str),
    /// Reads this many bytes.
    Bytes(usize),
}

/// Where vipgate and others differ.
pub(crate) struct Differs {
    who: &'static str,
    /// Of an observation.
    key: &'static str,
    /// What is seen through vipgate; "" for nothing. What the others do may depend on their version.
    ours: &'static str,
}

pub(crate) struct Case {
    name: String,
    steps: Vec<Step>,
    differs: Vec<Differs>,
    apart: Vec<&'static str>,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), steps: vec![], differs: vec![], apart: vec![] }
    }

    pub(crate) fn send(mut self, text: impl Into<String>) -> Self {
        self.steps.push(Step::Send(text.into()));
        self
    }

    pub(crate) fn answer(mut self, method: &'static str) -> Self {
        self.steps.push(Step::Answer(method));
        self
    }

    pub(crate) fn finally(mut self, method: &'static str) -> Self {
        self.steps.push(Step::Final(method));
        self
    }

    pub(crate) fn bytes(mut self, count: usize) -> Self {
        self.steps.push(Step::Bytes(count));
        self
    }

    /// A request with this first line and these fields, and its answer.
    pub(crate) fn ask(self, line: &str, fields: &str) -> Self {
        let method = if line.starts_with("HEAD ") { "HEAD" } else { "GET" };
        self.send(format!("{line}\r\n{fields}\r\n")).answer(method)
    }

    pub(crate) fn get(self, path: &str) -> Self {
        self.ask(&format!("GET {path} HTTP/1.1"), "Host: a\r\n")
    }

    pub(crate) fn differs(
        mut self,
        who: &'static str,
        key: &'static str,
        ours: &'static str,
        why: &'static str,
    ) -> Self {
        debug_assert!(!why.is_empty());
        self.differs.push(Differs { who, key, ours });
        self
    }

    /// Not compared with these at all: they cannot be made to do it, or go another way altogether.
    pub(crate) fn apart(mut self, who: &[&'static str], why: &'static str) -> Self {
        debug_assert!(!why.is_empty());
        self.apart.extend(who);
        self
    }

    /// vipgate refuses this, and the origin hears nothing of it; these are laxer.
    pub(crate) fn refused(self, status: &'static str, laxer: &[&'static str], why: &'static str) -> Self {
        self.apart(laxer, why)
            .differs("", "answer 1 status", status, why)
            .differs("", "requests", "0", why)
            .differs("", "then", "ends", why)
    }
}

/// The three, each with its own origin.
pub(crate) struct Stage {
    ours: (SocketAddr, Recorder),
    others: Vec<(&'static str, SocketAddr, Recorder)>,
    _vipgate: Vipgate,
    _port: Port,
    _opponents: Vec<Opponent>,
}

impl Stage {
    /// `document` is given the address to listen on and those of the servers.
    pub(crate) fn set(document: impl Fn(SocketAddr, [SocketAddr; 3]) -> String) -> Self {
        let recorder = Recorder::start();
        let port = Port::new();
        let vipgate = Vipgate::start(&document(port.address, recorder.servers));
        let (mut others, mut opponents) = (vec![], vec![]);
        for (who, start) in
            [("nginx", Opponent::nginx as fn(_) -> Option<Opponent>), ("haproxy", Opponent::haproxy)]
        {
            let recorder = Recorder::start();
            if let Some(opponent) = start(recorder.servers) {
                others.push((who, opponent.port.address, recorder));
                opponents.push(opponent);
            }
        }
        Self { ours: (port.address, recorder), others, _vipgate: vipgate, _port: port, _opponents: opponents }
    }

    pub(crate) fn compare(&self, cases: &[Case]) {
        expect_none(&cases.iter().flat_map(|case| self.complaints(case)).collect::<Vec<_>>());
    }

    fn complaints(&self, case: &Case) -> Vec<String> {
        let ours = observe(self.ours.0, &self.ours.1, case);
        let mut complaints = vec![];
        for differs in &case.differs {
            let found = ours.get(differs.key).map_or("", String::as_str);
            if found != differs.ours {
                complaints
                    .push(format!("{}: {} is {found:?}, not {:?}", case.name, differs.key, differs.ours));
            }
        }
        for (who, address, recorder) in self.others.iter().filter(|(who, ..)| !case.apart.contains(who)) {
            let theirs = observe(*address, recorder, case);
            let mut keys: Vec<_> = ours.keys().chain(theirs.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let (our, their) = (ours.get(key), theirs.get(key));
                let is_listed = case.differs.iter().any(|d| d.key == key && ["all", *who].contains(&d.who))
                    || always(who, key);
                if our != their && !is_listed {
                    let [our, their] = [our, their].map(|value| value.map_or("", String::as_str));
                    complaints.push(format!("{}: {key} is {our:?}, with {who} {their:?}", case.name));
                }
            }
        }
        complaints
    }
}

/// Differences in every case.
fn always(who: &str, key: &str) -> bool {
    let is_answer = key.starts_with("answer");
    match who {
        // It puts its own name and time in place of the origin's.
        "nginx" => is_answer && (key.ends_with("field server") || key.ends_with("field date")),
        _ => false,
    }
}

fn observe(front: SocketAddr, recorder: &Recorder, case: &Case) -> Observation {
    let mut client = Client::connect(front);
    client.stream.set_read_timeout(Some(SILENCE)).unwrap();
    client.stream.set_nodelay(true).unwrap();
    let mut seen = Observation::new();
    let mut number = 0;
    for step in &case.steps {
        match step {
            Step::Send(text) => _ = client.send(text),
            Step::Bytes(count) => {
                let got = read_exactly(&mut client.stream, &mut client.rest, *count);
                let got = got.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                let all = seen.entry("bytes".into()).or_default();
                all.push_str(&got.unwrap_or_else(|error| manner(&error).into()));
            }
            Step::Answer(method) => {
                number += 1;
                note_answer(&mut seen, number, client.response(method));
            }
            Step::Final(method) => {
                number += 1;
                note_answer(&mut seen, number, final_response(&mut client, method));
            }
        }
    }
    let goes_on = goes_on(&mut client);
    seen.insert("then".into(), if goes_on { "goes on" } else { "ends" }.into());
    drop(client);
    seen.extend(recorder.take());
    seen
}

pub(crate) fn final_response(client: &mut Client, method: &str) -> io::Result<Response> {
    loop {
        let response = client.response(method)?;
        if response.status >= 200 || response.status == 101 {
            return Ok(response);
        }
    }
}

fn note_answer(seen: &mut Observation, number: usize, response: io::Result<Response>) {
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            seen.insert(format!("answer {number} status"), manner(&error).into());
            return;
        }
    };
    let mut add = |what: &str, value: &str| {
        if !value.is_empty() {
            seen.insert(format!("answer {number} {what}"), value.into());
        }
    };
    let fields = fields(&response.head);
    add("status", &response.status.to_string());
    if !fields.contains_key("x-origin") && response.status >= 200 {
        // An answer of the proxy's own: everybody has another page.
        return add("location", &fields.get("location").map(|l| l.join(", ")).unwrap_or_default());
    }
    let only = |name: &str| fields.get(name).map(|values| values.join(", "));
    let framing = match (only("transfer-encoding"), only("content-length")) {
        (Some(coding), _) => coding,
        (None, Some(length)) => format!("length {length}"),
        (None, None) => String::new(),
    };
    add("framing", &framing);
    add("body", &String::from_utf8_lossy(&response.body));
    add("trailers", &response.trailers.replace("\r\n", ";").to_ascii_lowercase());
    for (name, values) in &fields {
        if !["connection", "keep-alive", "content-length", "transfer-encoding"].contains(&&**name) {
            add(&format!("field {name}"), &values.join(", "));
        }
    }
    if response.status == 101 {
        add("field connection", &only("connection").unwrap_or_default().to_ascii_lowercase());
    }
}

/// How reading failed, as far as it matters.
fn manner(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "silence",
        _ => "breaks off",
    }
}

fn goes_on(client: &mut Client) -> bool {
    let request = format!("GET {PROBE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.stream.write_all(request.as_bytes()).is_ok()
        && client.response("GET").is_ok_and(|r| r.status == 200)
}
