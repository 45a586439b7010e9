//! What a client asks: one head for every workload, of about 400 bytes with 6 fields, as a browser sends it.

/// The last of many virtual hosts; whoever has one only answers to it as well.
pub(crate) const HOST: &str = "host-99.example";

/// Besides Host.
pub(crate) const FIELDS: [(&str, &str); 5] = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Cookie", "session=4f3c2b1a09d8e7f6a5b4c3d2e1f00112; theme=dark; consent=yes; seen=1732848000; lang=en"),
];

/// A whole GET, for the clients of this program.
pub(crate) fn get(path: &str, host: &str) -> Vec<u8> {
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in FIELDS {
        head += &format!("{name}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}
