//! A name server on loopback that says what its script says, in bytes of its own making.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
const CNAME: u16 = 5;

/// A question as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) tcp: bool,
    bytes: Vec<u8>,
}

/// All datagrams to send, in order; over TCP the last one counts.
type Script = Box<dyn FnMut(&Asked) -> Vec<Vec<u8>> + Send>;

pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Dns {
    pub(crate) fn start(script: impl FnMut(&Asked) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            // The same port may be taken for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let asked = Arc::new(Mutex::new(vec![]));
        let answers = {
            let (script, log) = (Arc::clone(&script), Arc::clone(&asked));
            move |bytes: &[u8], tcp: bool| {
                let asked = Asked::read(bytes, tcp);
                log.lock().unwrap().push(asked.clone());
                (script.lock().unwrap())(&asked)
            }
        };
        let by_udp = answers.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            loop {
                // An earlier answer may have met a closed socket.
                let Ok((length, from)) = udp.recv_from(&mut bytes) else { continue };
                for answer in by_udp(&bytes[..length], false) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut bytes).unwrap();
                if let Some(answer) = answers(&bytes, true).last() {
                    let length = u16::try_from(answer.len()).unwrap();
                    stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).unwrap();
                }
            }
        });
        Self { address, script, asked }
    }

    /// Answers every question for an address with these and this time to live.
    pub(crate) fn zone(addresses: &[IpAddr], ttl: u32) -> Self {
        let dns = Self::start(|_| vec![]);
        dns.say(addresses, ttl);
        dns
    }

    pub(crate) fn say(&self, addresses: &[IpAddr], ttl: u32) {
        let addresses = addresses.to_vec();
        self.play(move |asked| vec![asked.answer(&addresses, ttl)]);
    }

    pub(crate) fn play(&self, script: impl FnMut(&Asked) -> Vec<Vec<u8>> + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Questions for an IPv4 address so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|a| a.kind == A).cloned().collect()
    }
}

impl Asked {
    fn read(bytes: &[u8], tcp: bool) -> Self {
        assert_eq!(bytes[2..12], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0], "recursion desired, one question");
        let (mut at, mut labels) = (12, vec![]);
        while bytes[at] > 0 {
            let end = at + 1 + usize::from(bytes[at]);
            labels.push(String::from_utf8(bytes[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let kind = u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]);
        assert_eq!(bytes[at + 3..], [0, 1], "class IN, and nothing behind the question");
        Self { name: labels.join("."), kind, tcp, bytes: bytes.to_vec() }
    }

    /// Header and question with this response code.
    pub(crate) fn refuse(&self, code: u8) -> Vec<u8> {
        let mut answer = self.bytes.clone();
        answer[2] |= 0x80;
        answer[3] = 0x80 | code;
        answer
    }

    pub(crate) fn truncated(&self) -> Vec<u8> {
        let mut answer = self.refuse(0);
        answer[2] |= 2;
        answer
    }

    /// Those of the addresses that it asks for.
    pub(crate) fn answer(&self, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
        self.records(&addresses.iter().map(|a| ("", address(*a))).collect::<Vec<_>>(), ttl)
    }

    /// `alias` is what the name is said to be, and what has the addresses.
    pub(crate) fn answer_by_alias(&self, alias: &str, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
        let mut records = vec![("", (CNAME, encode(alias)))];
        records.extend(addresses.iter().map(|a| (alias, address(*a))));
        self.records(&records, ttl)
    }

    /// Owner (empty: the name asked for), type and data; addresses only of the type asked for.
    fn records(&self, records: &[(&str, (u16, Vec<u8>))], ttl: u32) -> Vec<u8> {
        let mut answer = self.refuse(0);
        let mut count = 0_u16;
        for (owner, (kind, data)) in records.iter().filter(|(_, (kind, _))| [CNAME, self.kind].contains(kind))
        {
            count += 1;
            match *owner {
                "" => answer.extend([0xc0, 12]),
                owner => answer.extend(encode(owner)),
            }
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
        }
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        answer
    }
}

fn address(address: IpAddr) -> (u16, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (A, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AAAA, v6.octets().to_vec()),
    }
}

fn encode(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    let mut bytes: Vec<u8> = name.split('.').flat_map(label).collect();
    bytes.push(0);
    bytes
}
