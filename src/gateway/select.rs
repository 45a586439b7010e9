//! Server and route of a request, with nginx's precedence: the address that it came in on, then Host (exact, else the
//! address's default), then the path (exact, else the longest prefix).
//!
//! The default of an address is the server without names, which stands for every name, wherever it is written; else,
//! as with nginx, the first one. (nginx gives a later server without names only the requests without Host.)

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Action, Config, Forwarding, PathPattern};

/// A configuration's servers, laid out for looking up.
#[derive(Debug, Default)]
pub struct Gateway {
    addresses: HashMap<SocketAddr, Address>,
    sites: Vec<Site>,
}

#[derive(Debug)]
struct Address {
    names: HashMap<String, usize>,
    default: usize,
    /// The default is one without names, and no other can take its place.
    catches_all: bool,
}

/// A server as requests see it.
#[derive(Debug)]
pub struct Site {
    exact: HashMap<Vec<u8>, Deed>,
    /// Longest first.
    prefixes: Vec<(Vec<u8>, Deed)>,
    /// Whole lines, each with its CRLF, for every answer.
    pub add: Vec<u8>,
    /// Host for clients that name none.
    pub name: String,
}

/// What is done for a request.
#[derive(Debug)]
pub enum Deed {
    Files {
        root: PathBuf,
        index: String,
    },
    /// The place of the upstream in `Config::upstreams`.
    Proxy {
        upstream: usize,
    },
    Respond {
        status: u16,
        content_type: String,
        body: String,
    },
    /// 301 to the same path with a slash.
    AddSlash,
}

impl Gateway {
    /// An error only where `config` breaks its own promises; then the configuration has to be refused.
    pub fn try_new(config: &Config) -> Result<Self, String> {
        let mut gateway = Self::default();
        for (index, server) in config.servers.iter().enumerate() {
            let mut site = Site {
                exact: HashMap::new(),
                prefixes: vec![],
                add: vec![],
                name: server.server_names.first().cloned().unwrap_or_else(|| config.node.clone()),
            };
            for (name, value) in &server.add_headers {
                let value = value.constant().unwrap_or_default();
                if name.bytes().chain(value.bytes()).any(|b| b.is_ascii_control() && b != b'\t') {
                    return Err(format!("add_headers of a server: {name:?} has a control character"));
                }
                site.add.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            for route in &server.routes {
                let deed = deed(&route.action, config)?;
                match &route.pattern {
                    PathPattern::Exact(path) => {
                        _ = site.exact.entry(path.clone().into_bytes()).or_insert(deed)
                    }
                    PathPattern::Prefix(path) => site.prefixes.push((path.clone().into_bytes(), deed)),
                }
            }
            site.add_slashes();
            // Stable: of two equal prefixes the first one written wins.
            site.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
            gateway.sites.push(site);
            for address in &server.listen {
                let entry = gateway.addresses.entry(*address).or_insert_with(|| Address {
                    names: HashMap::new(),
                    default: index,
                    catches_all: false,
                });
                if server.server_names.is_empty() && !entry.catches_all {
                    (entry.default, entry.catches_all) = (index, true);
                }
                for name in &server.server_names {
                    entry.names.entry(name.clone()).or_insert(index);
                }
            }
        }
        Ok(gateway)
    }

    /// Every address that has a server.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.keys().copied()
    }

    pub fn serves(&self, address: SocketAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    /// The server for a request that came in on the listener of `address`; `None`: the address is not served any
    /// more. `host` is the authority as the client wrote it.
    pub fn site(&self, address: SocketAddr, host: Option<&[u8]>) -> Option<&Site> {
        let entry = self.addresses.get(&address)?;
        let named = match host {
            // Most configurations have one server per address: no name to look up.
            Some(host) if !entry.names.is_empty() => {
                entry.names.get(&String::from_utf8_lossy(host_name(host)).to_ascii_lowercase())
            }
            _ => None,
        };
        self.sites.get(named.copied().unwrap_or(entry.default))
    }
}

impl Site {
    /// A proxied path that ends with a slash is asked for with its slash, as nginx does it: what an application links to
    /// relatively would lead elsewhere without. A route of the path itself comes first.
    fn add_slashes(&mut self) {
        let is_proxied = |deed: &Deed| match deed {
            Deed::Proxy { .. } => true,
            Deed::Files { .. } | Deed::Respond { .. } | Deed::AddSlash => false,
        };
        let prefixes: HashMap<&[u8], &Deed> =
            self.prefixes.iter().map(|(path, deed)| (path.as_slice(), deed)).collect();
        let exact = self.exact.iter().map(|(path, deed)| (path.as_slice(), deed));
        let bare: Vec<Vec<u8>> = exact
            .chain(prefixes.iter().map(|(path, deed)| (*path, *deed)))
            .filter(|(_, deed)| is_proxied(deed))
            .filter_map(|(path, _)| path.strip_suffix(b"/"))
            .filter(|bare| !bare.is_empty() && !prefixes.contains_key(bare))
            .map(<[u8]>::to_vec)
            .collect();
        for path in bare {
            self.exact.entry(path).or_insert(Deed::AddSlash);
        }
    }

    /// `path` in the form that `normalise` gives it.
    pub fn route(&self, path: &[u8]) -> Option<&Deed> {
        self.exact.get(path).or_else(|| {
            self.prefixes.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, deed)| deed)
        })
    }
}

fn deed(action: &Action, config: &Config) -> Result<Deed, String> {
    Ok(match action {
        Action::Files { root, index } => Deed::Files { root: root.clone(), index: index.clone() },
        Action::Proxy(Forwarding { upstream, .. }) => {
            Deed::Proxy {
                upstream: config.upstreams.iter().position(|u| u.name == *upstream).ok_or_else(|| {
                    format!("a route names the upstream {upstream:?}, which does not exist")
                })?,
            }
        }
        Action::Respond { status, content_type, body } => {
            Deed::Respond { status: *status, content_type: content_type.clone(), body: body.clone() }
        }
    })
}

/// Without the port and the root's dot, as nginx's `$host`.
fn host_name(host: &[u8]) -> &[u8] {
    let end = match host {
        [b'[', ..] => memchr::memchr(b']', host).map(|n| n + 1),
        _ => memchr::memchr(b':', host),
    };
    let name = host.get(..end.unwrap_or(host.len())).unwrap_or_default();
    name.strip_suffix(b".").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Route, Server, example};
    use crate::gateway::{Moment, Template};

    fn respond(body: &str) -> Action {
        Action::Respond { status: 200, content_type: "text/plain".into(), body: body.into() }
    }

    fn server(listen: &str, names: &[&str], routes: &[(PathPattern, &str)]) -> Server {
        let [mut server] = example().servers.try_into().unwrap();
        let routes = routes.iter().map(|(pattern, body)| route(pattern.clone(), respond(body)));
        server.routes = routes.collect();
        server.listen = vec![listen.parse().unwrap()];
        server.server_names = names.iter().map(|n| n.to_string()).collect();
        server
    }

    fn route(pattern: PathPattern, action: Action) -> Route {
        let [server] = example().servers.try_into().unwrap();
        let [route] = server.routes.try_into().unwrap();
        Route { pattern, action, ..route }
    }

    fn proxied(pattern: PathPattern) -> Route {
        let [server] = example().servers.try_into().unwrap();
        let [route] = server.routes.try_into().unwrap();
        Route { pattern, ..route }
    }

    fn config(servers: Vec<Server>) -> Config {
        Config { servers, ..example() }
    }

    fn body(deed: Option<&Deed>) -> &str {
        match deed {
            Some(Deed::Respond { body, .. }) => body,
            Some(Deed::AddSlash) => "slash",
            Some(_) => "other",
            None => "none",
        }
    }

    #[test]
    fn the_address_then_the_name_choose_the_server() {
        let all = || PathPattern::Prefix("/".into());
        let gateway = Gateway::try_new(&config(vec![
            server("0.0.0.0:80", &["a"], &[(all(), "first")]),
            server("0.0.0.0:80", &["b", "b.example", "[::1]"], &[(all(), "second")]),
            server("0.0.0.0:80", &["a"], &[(all(), "shadowed")]),
            server("0.0.0.0:81", &["a"], &[(all(), "named")]),
            server("0.0.0.0:81", &[], &[(all(), "every name")]),
            server("0.0.0.0:81", &[], &[(all(), "shadowed")]),
        ]))
        .unwrap();
        let table = [
            ("0.0.0.0:80", Some("a"), "first"),
            ("0.0.0.0:80", Some("B:8000"), "second"),
            ("0.0.0.0:80", Some("b.EXAMPLE."), "second"),
            ("0.0.0.0:80", Some("[::1]:80"), "second"),
            ("0.0.0.0:80", Some("nobody"), "first"),
            ("0.0.0.0:80", None, "first"),
            ("0.0.0.0:81", Some("a"), "named"),
            ("0.0.0.0:81", Some("nobody"), "every name"),
            ("0.0.0.0:81", None, "every name"),
            ("0.0.0.0:82", Some("a"), "none"),
        ];
        for (address, host, expect) in table {
            let site = gateway.site(address.parse().unwrap(), host.map(str::as_bytes));
            assert_eq!(body(site.and_then(|s| s.route(b"/"))), expect, "{address} {host:?}");
        }
    }

    #[test]
    fn exact_then_longest_prefix() {
        use PathPattern::{Exact, Prefix};
        let gateway = Gateway::try_new(&config(vec![server(
            "0.0.0.0:80",
            &[],
            &[
                (Prefix("/a".into()), "prefix"),
                (Prefix("/a/b/".into()), "longer"),
                (Exact("/a/b/c".into()), "exact"),
                (Prefix("/a".into()), "repeated"),
                (Exact("/a/b/c".into()), "repeated"),
            ],
        )]))
        .unwrap();
        let site = gateway.site("0.0.0.0:80".parse().unwrap(), None).unwrap();
        for (path, expect) in [
            ("/a", "prefix"),
            ("/ab", "prefix"),
            ("/a/b", "prefix"),
            ("/a/b/", "longer"),
            ("/a/b/c", "exact"),
            ("/a/b/c/", "longer"),
            ("/", "none"),
            ("*", "none"),
        ] {
            assert_eq!(body(site.route(path.as_bytes())), expect, "{path}");
        }
    }

    #[test]
    fn a_proxied_folder_is_asked_for_with_its_slash() {
        use PathPattern::{Exact, Prefix};
        let all = || PathPattern::Prefix("/".into());
        let mut config = config(vec![server(
            "0.0.0.0:80",
            &[],
            &[
                (all(), "all"),
                (Prefix("/page/".into()), "page"),
                (Prefix("/own".into()), "own"),
                (Exact("/eq".into()), "eq"),
            ],
        )]);
        for pattern in ["/api/", "/own/", "/eq/", "/deep/er/"].map(|p| Prefix(p.into())) {
            config.servers[0].routes.push(proxied(pattern));
        }
        let exact = Exact("/one/".into());
        config.servers[0].routes.push(proxied(exact));
        let gateway = Gateway::try_new(&config).unwrap();
        let site = gateway.site("0.0.0.0:80".parse().unwrap(), None).unwrap();
        for (path, expect) in [
            ("/api", "slash"),
            ("/api/", "other"),
            ("/api/x", "other"),
            ("/apis", "all"),
            ("/deep/er", "slash"),
            ("/deep", "all"),
            ("/one", "slash"),
            ("/own", "own"),
            ("/eq", "eq"),
            ("/page", "all"),
            ("/", "all"),
        ] {
            assert_eq!(body(site.route(path.as_bytes())), expect, "{path}");
        }
    }

    #[test]
    fn a_config_that_breaks_its_promises_is_refused() {
        let mut lost = config(vec![server("0.0.0.0:80", &[], &[])]);
        lost.servers[0].routes.push(proxied(PathPattern::Prefix("/".into())));
        lost.upstreams.clear();
        assert!(Gateway::try_new(&lost).unwrap_err().contains("\"app\""));
        let mut split = config(vec![server("0.0.0.0:80", &[], &[])]);
        let broken = Template::parse("b\r\nC: d", Moment::Response).unwrap();
        split.servers[0].add_headers.push(("A".into(), broken));
        assert!(Gateway::try_new(&split).is_err());
    }
}
