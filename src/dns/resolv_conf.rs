//! /etc/resolv.conf (resolv.conf(5)): who is asked, and under which names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const DNS_PORT: u16 = 53;
/// As many as any libc asks (MAXNS).
const SERVERS_MAX: usize = 3;
/// glibc knew no more for long, and each is a question of its own.
const SEARCH_MAX: usize = 6;
/// As in every libc.
const NDOTS_MAX: usize = 15;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// At least one.
    pub servers: Vec<SocketAddr>,
    /// Domains that short names are completed with.
    search: Vec<String>,
    /// A name with so many dots is asked for as it is first.
    ndots: usize,
}

impl ResolvConf {
    /// What cannot be understood is passed over, as every libc does.
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self { servers: vec![], search: vec![], ndots: 1 };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    parsed.servers.extend(address.map(|ip| SocketAddr::new(ip, DNS_PORT)));
                }
                // The last line of either counts.
                Some("search" | "domain") => {
                    parsed.search = words.take(SEARCH_MAX).map(|d| d.trim_matches('.').to_owned()).collect();
                    parsed.search.retain(|domain| !domain.is_empty());
                }
                Some("options") => {
                    let ndots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    parsed.ndots = ndots.map_or(parsed.ndots, |n: usize| n.min(NDOTS_MAX));
                }
                Some(_) | None => (),
            }
        }
        parsed.servers.truncate(SERVERS_MAX);
        if parsed.servers.is_empty() {
            parsed.servers.push((Ipv4Addr::LOCALHOST, DNS_PORT).into());
        }
        parsed
    }

    /// Under which names `name` is asked for, one after the other until one exists.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        let as_it_is = [name.to_owned()].into_iter();
        if name.ends_with('.') {
            return as_it_is.collect();
        }
        let completed = self.search.iter().map(|domain| format!("{name}.{domain}"));
        match name.matches('.').count() >= self.ndots {
            true => as_it_is.chain(completed).collect(),
            false => completed.chain(as_it_is).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (text, expect) in [
            ("nameserver 127.0.0.11\noptions ndots:0\n", "127.0.0.11:53"),
            ("# Generated\nnameserver 10.0.0.1\nnameserver fd00::53\n", "10.0.0.1:53 [fd00::53]:53"),
            ("nameserver 1.1.1.1\nnameserver x\nnameserver\nnameserver 10.0.0.2", "1.1.1.1:53 10.0.0.2:53"),
            ("nameserver 1.0.0.1\n".repeat(9).as_str(), "1.0.0.1:53 1.0.0.1:53 1.0.0.1:53"),
            ("", "127.0.0.1:53"),
            (";nameserver 10.0.0.1", "127.0.0.1:53"),
        ] {
            let servers = ResolvConf::parse(text).servers;
            let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
            assert_eq!(servers.join(" "), expect, "{text:?}");
        }
    }

    #[test]
    fn candidates() {
        for (text, name, expect) in [
            ("", "app", "app"),
            ("search lan example.org.", "app", "app.lan app.example.org app"),
            ("search lan\noptions ndots:0", "app", "app app.lan"),
            ("search lan\noptions timeout:1 ndots:2", "app.svc", "app.svc.lan app.svc"),
            ("search lan\noptions ndots:99", "a.b.c", "a.b.c.lan a.b.c"),
            ("search lan\noptions ndots:x", "a.b", "a.b a.b.lan"),
            ("search a\ndomain lan", "app", "app.lan app"),
            ("search lan", "app.", "app."),
            ("search .", "app", "app"),
            ("search 1 2 3 4 5 6 7 8", "n", "n.1 n.2 n.3 n.4 n.5 n.6 n"),
        ] {
            assert_eq!(ResolvConf::parse(text).candidates(name).join(" "), expect, "{text:?} {name}");
        }
    }
}
