//! Server and route of a request, with nginx's precedence: the address that it came in on, then Host (exact, else the
//! address's default), then the path (exact, else the longest prefix).
//!
//! The default of an address is the server without names, which stands for every name, wherever it is written; else,
//! as with nginx, the first one. (nginx gives a later server without names only the requests without Host.)

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::prefixes::Prefixes;
use crate::config::{Action, ClientLimits, Config, Forwarding, PathPattern, Server};
use crate::http1::Names;

/// DNS's bound on a name (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 255;

/// A configuration's servers, laid out for looking up.
#[derive(Debug, Default)]
pub struct Gateway {
    places: HashMap<SocketAddr, usize>,
    addresses: Vec<Address>,
    sites: Vec<Site>,
}

#[derive(Debug)]
struct Address {
    /// Lower-case, sorted.
    names: Vec<(Vec<u8>, usize)>,
    default: usize,
    /// The default is one without names, and no other can take its place.
    catches_all: bool,
}

/// A server as requests see it.
#[derive(Debug)]
pub struct Site {
    exact: HashMap<Vec<u8>, usize>,
    prefixes: Prefixes<usize>,
    routes: Vec<Route>,
    /// Host for clients that name none.
    pub name: String,
    pub client: ClientLimits,
}

/// What is done for the requests of one path.
#[derive(Debug)]
pub struct Route {
    pub deed: Deed,
    /// Bytes of the matched path that a forwarded request's replacement takes the place of; `None`: all of them.
    pub prefix: Option<usize>,
    /// Longest body in bytes.
    pub body_max: Option<u64>,
    /// Requests are in the access log.
    pub is_logged: bool,
}

#[derive(Debug)]
pub enum Deed {
    Files {
        root: PathBuf,
        index: String,
    },
    Proxy(Forward),
    Respond {
        status: u16,
        content_type: String,
        body: String,
    },
    /// 301 to the same path with a slash.
    AddSlash,
}

#[derive(Debug)]
pub struct Forward {
    /// The place of the upstream in `Config::upstreams`.
    pub upstream: usize,
    /// Takes the place of the matched path.
    pub uri: Option<String>,
    /// `Forwarded` is sent as well.
    pub forwarded: bool,
    pub via: bool,
    /// Fields of the response that the client does not get.
    pub hide: Names,
}

impl Gateway {
    /// An error only where `config` breaks its own promises; then the configuration has to be refused.
    pub fn try_new(config: &Config) -> Result<Self, String> {
        let mut gateway = Self::default();
        for (index, server) in config.servers.iter().enumerate() {
            gateway.sites.push(Site::try_new(server, config)?);
            for address in &server.listen {
                let next = gateway.addresses.len();
                let place = *gateway.places.entry(*address).or_insert(next);
                if place == next {
                    gateway.addresses.push(Address { names: vec![], default: index, catches_all: false });
                }
                let Some(entry) = gateway.addresses.get_mut(place) else { continue };
                if server.server_names.is_empty() && !entry.catches_all {
                    (entry.default, entry.catches_all) = (index, true);
                }
                entry.names.extend(server.server_names.iter().map(|n| (n.clone().into_bytes(), index)));
            }
        }
        for address in &mut gateway.addresses {
            // Stable: of two equal names the first one written wins.
            address.names.sort_by(|(a, _), (b, _)| a.cmp(b));
            address.names.dedup_by(|(later, _), (earlier, _)| later == earlier);
        }
        Ok(gateway)
    }

    /// Every address that has a server.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.places.keys().copied()
    }

    pub fn serves(&self, address: SocketAddr) -> bool {
        self.places.contains_key(&address)
    }

    /// The place of `address`, for `site`: looked up once per connection, not once per request.
    pub fn place(&self, address: SocketAddr) -> Option<usize> {
        self.places.get(&address).copied()
    }

    /// The server for a request that came in on the listener of the address at `place`. `host` is the authority as the
    /// client wrote it.
    pub fn site(&self, place: usize, host: Option<&[u8]>) -> Option<&Site> {
        let entry = self.addresses.get(place)?;
        let named = match host {
            // Most configurations have one server per address: no name to look up.
            Some(host) if !entry.names.is_empty() => entry.named(host_name(host)),
            _ => None,
        };
        self.sites.get(named.unwrap_or(entry.default))
    }
}

impl Address {
    fn named(&self, name: &[u8]) -> Option<usize> {
        let mut lower = [0; NAME_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let at = self.names.binary_search_by(|(name, _)| name.as_slice().cmp(lower)).ok()?;
        self.names.get(at).map(|(_, site)| *site)
    }
}

impl Site {
    fn try_new(server: &Server, config: &Config) -> Result<Self, String> {
        let mut site = Self {
            exact: HashMap::new(),
            prefixes: Prefixes::default(),
            routes: vec![],
            name: server.server_names.first().cloned().unwrap_or_else(|| config.node.clone()),
            client: server.client,
        };
        let mut prefixes = vec![];
        for route in &server.routes {
            let place = site.routes.len();
            let prefix = match &route.pattern {
                PathPattern::Exact(path) => {
                    site.exact.entry(path.clone().into_bytes()).or_insert(place);
                    None
                }
                PathPattern::Prefix(path) => {
                    prefixes.push((path.clone().into_bytes(), place));
                    Some(path.len())
                }
            };
            site.routes.push(Route {
                deed: deed(&route.action, config)?,
                prefix,
                body_max: route.client_max_body_size,
                is_logged: route.access_log,
            });
        }
        site.prefixes = Prefixes::new(prefixes);
        site.add_slashes();
        Ok(site)
    }

    /// A proxied path that ends with a slash is asked for with its slash, as nginx does it: what an application links to
    /// relatively would lead elsewhere without. A route of the path itself comes first.
    fn add_slashes(&mut self) {
        let is_proxied = |place: &usize| match self.routes.get(*place).map(|route| &route.deed) {
            Some(Deed::Proxy(_)) => true,
            Some(Deed::Files { .. } | Deed::Respond { .. } | Deed::AddSlash) | None => false,
        };
        let exact = self.exact.iter().map(|(path, place)| (path.as_slice(), place));
        let bare: Vec<Vec<u8>> = exact
            .chain(self.prefixes.iter())
            .filter(|(_, place)| is_proxied(place))
            .filter_map(|(path, _)| path.strip_suffix(b"/"))
            .filter(|bare| !bare.is_empty() && !self.prefixes.contains(bare))
            .map(<[u8]>::to_vec)
            .collect();
        let slash = self.routes.len();
        self.routes.push(Route { deed: Deed::AddSlash, prefix: None, body_max: None, is_logged: true });
        for path in bare {
            self.exact.entry(path).or_insert(slash);
        }
    }

    /// `path` in the form that `normalise` gives it.
    pub fn route(&self, path: &[u8]) -> Option<&Route> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(path) };
        self.routes.get(*exact.or_else(|| self.prefixes.longest(path))?)
    }
}

fn deed(action: &Action, config: &Config) -> Result<Deed, String> {
    Ok(match action {
        Action::Files { root, index } => Deed::Files { root: root.clone(), index: index.clone() },
        Action::Proxy(Forwarding { upstream, uri, forwarded, via, hide_headers, .. }) => {
            let place = config.upstreams.iter().position(|u| u.name == *upstream);
            Deed::Proxy(Forward {
                upstream: place.ok_or_else(|| {
                    format!("a route names the upstream {upstream:?}, which does not exist")
                })?,
                uri: uri.clone(),
                forwarded: *forwarded,
                via: *via,
                hide: hide_headers.iter().map(String::as_str).collect(),
            })
        }
        Action::Respond { status, content_type, body } => {
            Deed::Respond { status: *status, content_type: content_type.clone(), body: body.clone() }
        }
    })
}

/// Without the port and the root's dot, as nginx's `$host`.
pub(super) fn host_name(host: &[u8]) -> &[u8] {
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

    fn body(route: Option<&super::Route>) -> &str {
        match route.map(|route| &route.deed) {
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
            let place = gateway.place(address.parse().unwrap());
            let site = place.and_then(|place| gateway.site(place, host.map(str::as_bytes)));
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
        let site = gateway.site(0, None).unwrap();
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
        let site = gateway.site(0, None).unwrap();
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
    }
}
