//! /etc/hosts (hosts(5)): an address, then its names, per line.

use std::net::IpAddr;

/// The addresses that `text` gives to `name`, each once, in order.
pub fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut addresses: Vec<IpAddr> = text.lines().filter_map(|line| address(line, name)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn address(line: &str, name: &str) -> Option<IpAddr> {
    let mut words = line.split('#').next()?.split_ascii_whitespace();
    let address = words.next()?.parse().ok()?;
    words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_addresses() {
        let text = "127.0.0.1\tlocalhost here\n::1 localhost ip6-localhost\n# 192.0.2.9 old\n\
                    192.0.2.1 app # app2\n192.0.2.1 APP app\nnonsense app\n192.0.2.2\n\n  192.0.2.3  db.lan db";
        for (name, expect) in [
            ("localhost", "127.0.0.1 ::1"),
            ("LocalHost.", "127.0.0.1 ::1"),
            ("here", "127.0.0.1"),
            ("app", "192.0.2.1"),
            ("db", "192.0.2.3"),
            ("db.lan", "192.0.2.3"),
            ("app2", ""),
            ("old", ""),
            ("192.0.2.2", ""),
            ("", ""),
        ] {
            let found: Vec<_> = hosts(text, name).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expect, "{name:?}");
        }
    }
}
