//! A configuration and arguments as typed -> a drill that can be carried out.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, Host, Transport, VrrpInstance};
use crate::daemon::probe::{self, PlanError, Until};
use crate::drill::Bounds;
use crate::net::{Family, is_link_local};
use crate::peer::Order;

/// A new connection every 5 ms.
const RATE: u32 = 200;
/// Connections that are kept, each with a request every 100 ms.
const KEPT: u32 = 8;
/// Beyond the freeze: whoever waits in a frozen node is still there when it thaws.
const PATIENCE: Duration = Duration::from_secs(3);

/// As it was typed.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub router: Option<String>,
    pub nodes: Vec<String>,
    pub url: Option<String>,
    /// `None`: only the planned phase.
    pub freeze: Option<Duration>,
    pub max_gap: Duration,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub(super) router: String,
    pub(super) vrid: u8,
    pub(super) nodes: Vec<Host>,
    /// In which the nodes speak with each other.
    pub(super) family: Family,
    /// Of the link.
    pub(super) port: u16,
    pub(super) key_file: Option<PathBuf>,
    pub(super) probe: probe::Plan,
    pub(super) freeze: Option<Duration>,
    pub(super) bounds: Bounds,
    /// A node may end its connections first.
    pub(super) drain_timeout: Duration,
}

/// What is wrong with the arguments for this configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    #[error("the configuration has no virtual router, and so nothing that could fail over")]
    NoRouter,
    #[error("there is no virtual router {wanted}, but {known}")]
    UnknownRouter { wanted: String, known: String },
    #[error("there are several virtual routers: name one of {0}")]
    WhichRouter(String),
    #[error("--freeze {0:?}: must be between 200ms and 10s")]
    Freeze(Duration),
    #[error("the members of a multicast group are not in the configuration: name the nodes in --nodes")]
    Multicast,
    #[error(
        "no listener of the configuration belongs to the virtual address: say in --url what is to be asked"
    )]
    NoListener,
    #[error(transparent)]
    Probe(#[from] PlanError),
}

impl Task {
    pub fn try_new(config: &Config, wanted: Wanted) -> Result<Self, TaskError> {
        let instance = router(config, wanted.router)?;
        if let Some(freeze) =
            wanted.freeze.filter(|f| !(Order::FREEZE_LEAST..=Order::FREEZE_MOST).contains(f))
        {
            return Err(TaskError::Freeze(freeze));
        }
        let nodes = match (&instance.transport, wanted.nodes) {
            (Transport::Unicast { peers }, nodes) if nodes.is_empty() => peers.clone(),
            (Transport::Multicast, nodes) if nodes.is_empty() => return Err(TaskError::Multicast),
            (_, nodes) => nodes.into_iter().map(host).collect(),
        };
        let url = match wanted.url {
            Some(url) => url,
            None => url(config, instance).ok_or(TaskError::NoListener)?,
        };
        let patience = wanted.freeze.unwrap_or_default() + PATIENCE;
        Ok(Self {
            router: instance.name.clone(),
            vrid: instance.vrid.get(),
            nodes,
            family: instance.family(),
            port: config.link.port,
            key_file: config.link.key_file.clone(),
            probe: probe::Plan::try_new(&url, RATE, patience, KEPT, Until::Told)?,
            freeze: wanted.freeze,
            bounds: Bounds { gap: wanted.max_gap },
            drain_timeout: config.drain_timeout,
        })
    }
}

fn router(config: &Config, wanted: Option<String>) -> Result<&VrrpInstance, TaskError> {
    let names = || config.vrrp.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ");
    match (config.vrrp.as_slice(), wanted) {
        ([], _) => Err(TaskError::NoRouter),
        (all, Some(wanted)) => {
            let found = all.iter().find(|instance| instance.name == wanted);
            found.ok_or_else(|| TaskError::UnknownRouter { wanted, known: names() })
        }
        ([one], None) => Ok(one),
        (_, None) => Err(TaskError::WhichRouter(names())),
    }
}

fn host(text: String) -> Host {
    text.parse().map_or(Host::Name(text), Host::Address)
}

fn url(config: &Config, instance: &VrrpInstance) -> Option<String> {
    let served = |address: IpAddr| {
        let is_at = |at: &&SocketAddr| {
            at.ip() == address || (at.ip().is_unspecified() && at.is_ipv4() == address.is_ipv4())
        };
        let at = config.servers.iter().flat_map(|server| &server.listen).find(is_at)?;
        Some(SocketAddr::from((address, at.port())))
    };
    // A link-local one cannot be written without its interface.
    let at = instance.addresses().filter(|address| !is_link_local(*address)).find_map(served)?;
    Some(match at {
        SocketAddr::V4(at) if at.port() == 80 => format!("http://{}/", at.ip()),
        SocketAddr::V6(at) if at.port() == 80 => format!("http://[{}]/", at.ip()),
        at => format!("http://{at}/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};

    fn wanted() -> Wanted {
        let max_gap = Duration::from_millis(500);
        Wanted { router: None, nodes: vec![], url: None, freeze: None, max_gap }
    }

    fn config(vrrp: &str, listen: &str) -> Config {
        let text = format!(
            "node: n\nvrrp: {{{vrrp}}}\nservers: [{{listen: [{listen}], routes: [{{path: /, respond: {{}}}}]}}]\n"
        );
        let source = Source { name: "vipgate.yaml".into(), folder: "/".into(), text };
        load(&source, &|_| None).unwrap().config
    }

    const WEB: &str = "web: {vrid: 51, virtual_addresses: [10.0.0.4/24], peers: [10.0.0.2, n3]}";
    const SIX: &str = "six: {vrid: 53, virtual_addresses: ['2001:db8::4/64'], peers: ['2001:db8::2', n3]}";
    const MAIL: &str = "mail: {vrid: 52, virtual_addresses: [10.0.0.5/24]}";

    #[test]
    fn what_is_asked_of_whom() {
        let check = |vrrp: &str, listen: &str, wanted: Wanted, expect: Result<(&str, &str, usize), &str>| {
            let got = Task::try_new(&config(vrrp, listen), wanted);
            let got = got.map(|t| (t.router, t.probe.target.url, t.nodes.len())).map_err(|e| e.to_string());
            let expect = expect.map(|(r, u, n)| (r.to_owned(), u.to_owned(), n)).map_err(str::to_owned);
            assert_eq!(got, expect, "{vrrp} {listen}");
        };
        let both = format!("{WEB}, {MAIL}");
        let named = |name: &str| Wanted { router: Some(name.to_owned()), ..wanted() };
        check(WEB, "80", wanted(), Ok(("web", "http://10.0.0.4/", 2)));
        check(WEB, "10.0.0.2:81, 10.0.0.4:8080, 80", wanted(), Ok(("web", "http://10.0.0.4:8080/", 2)));
        check(&both, "80", named("web"), Ok(("web", "http://10.0.0.4/", 2)));
        let nodes = vec!["10.0.0.2".to_owned(), "n3".to_owned(), "10.0.0.7".to_owned()];
        let url = Some("http://front:6301/x".to_owned());
        check(MAIL, "81", Wanted { nodes, url, ..wanted() }, Ok(("mail", "http://front:6301/x", 3)));
        check(&both, "80", wanted(), Err("there are several virtual routers: name one of web, mail"));
        check(WEB, "80", named("ftp"), Err("there is no virtual router ftp, but web"));
        check(
            "",
            "80",
            wanted(),
            Err("the configuration has no virtual router, and so nothing that could fail over"),
        );
        check(
            MAIL,
            "80",
            wanted(),
            Err("the members of a multicast group are not in the configuration: name the nodes in --nodes"),
        );
        check(SIX, "'[::]:80'", wanted(), Ok(("six", "http://[2001:db8::4]/", 2)));
        check(SIX, "80, '[2001:db8::4]:8080'", wanted(), Ok(("six", "http://[2001:db8::4]:8080/", 2)));
        check(
            WEB,
            "10.0.0.2:80",
            wanted(),
            Err(
                "no listener of the configuration belongs to the virtual address: say in --url what is to be asked",
            ),
        );
        for (ms, is_refused) in [(199, true), (200, false), (10_000, false), (10_001, true)] {
            let freeze = Some(Duration::from_millis(ms));
            let got = Task::try_new(&config(WEB, "80"), Wanted { freeze, ..wanted() });
            assert_eq!(got.is_err_and(|e| matches!(e, TaskError::Freeze(_))), is_refused, "{ms}");
        }
    }
}
