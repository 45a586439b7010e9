//! Source text -> `Config`, or everything that is wrong with it. No file, no environment, no DNS: all is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::build::{
    ReadFile, Surroundings, email, has_key, instances, link, refuse_loops, servers, sync_groups, upstreams,
    warn_deaf, webhooks,
};
use super::document::{AdminEntry, Document, LogEntry, ResolverEntry};
use super::field::{Field, Place};
use super::model::{Admin, Config, Log, Resolver};
use super::problem::{Problem, Problems};
use super::report::{Report, Reported, Span};
use super::tree::{self, Value};
use super::values::{NodeName, UpstreamName};
use crate::net::Priority;

/// A config file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How messages name it, such as `/etc/vipgate/vipgate.yaml`.
    pub name: String,
    /// Relative paths in it start here; absolute.
    pub folder: PathBuf,
    pub text: String,
}

impl Source {
    /// Refuses what is not UTF-8, naming the place.
    pub fn from_bytes(name: String, folder: PathBuf, bytes: Vec<u8>) -> Result<Self, Problems> {
        let error = match String::from_utf8(bytes) {
            Ok(text) => return Ok(Self { name, folder, text }),
            Err(error) => error,
        };
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let mut report = Report::new(&name, &text);
        let what = "the file is not UTF-8 text";
        let reported = report.error(Span { start: at, end: at }, what, "save it as UTF-8");
        match report.finish::<()>(Err(reported)) {
            Ok(_) => Err(Problems { list: Vec::new(), more: 0 }),
            Err(problems) => Err(problems),
        }
    }
}

/// A config that can be used, and what its author may want to think about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
}

/// `environment` answers for `${NAME}`; its `HOSTNAME` is the host name, which names a node that the file does not
/// name.
pub fn load(source: &Source, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Problems> {
    load_with(source, environment, None)
}

/// The same, which also looks into the files that the configuration needs to be sound.
pub fn load_with(
    source: &Source,
    environment: &dyn Fn(&str) -> Option<String>,
    files: Option<&ReadFile<'_>>,
) -> Result<Loaded, Problems> {
    let mut report = Report::new(&source.name, &source.text);
    let config = read(source, environment, files, &mut report);
    let (config, warnings) = report.finish(config)?;
    Ok(Loaded { config, warnings })
}

fn read(
    source: &Source,
    environment: &dyn Fn(&str) -> Option<String>,
    files: Option<&ReadFile<'_>>,
    report: &mut Report<'_>,
) -> Result<Config, Reported> {
    let root = tree::parse(&source.text, report, environment)?;
    let start = Span::default();
    if matches!(root.value, Value::Null) {
        return Err(report.error(start, "the document is empty", NOTHING_TO_DO));
    }
    let document = Document::read(Place { node: &root, owner: start }, report)?;
    // Beside other mistakes it would be their consequence.
    let idle = document.servers.get().is_some_and(|servers| servers.0.is_empty())
        && document.vrrp.get().is_some_and(|instances| instances.0.is_empty());
    if idle && !report.failed() {
        report.error(start, "there is nothing to do: neither servers nor vrrp", NOTHING_TO_DO);
    }
    refuse_loops(&document, report);
    warn_deaf(&document, report);
    warn_unused(&document, report);
    warn_unchecked(&document, report);
    refuse_shared_admin(&document, report);
    check_alerts(&document, report);

    let names: BTreeSet<String> = document
        .upstreams
        .get()
        .iter()
        .flat_map(|upstreams| upstreams.0.iter().map(|named| named.name.clone()))
        .collect();
    let link = document.link.take().and_then(|e| link(e, &source.folder, environment, files, report));
    let linked = link.as_ref().is_ok_and(|link| has_key(link, environment, files));
    let surroundings = Surroundings { folder: &source.folder, upstreams: &names, linked, read: files };
    let node = node(document.node.take(), environment, report);
    let log = document.log.take().and_then(log);
    let workers = document.workers.take();
    let drain_timeout = document.drain_timeout.take();
    let access_log = document.access_log.take();
    let admin = document.admin.take().and_then(|entry| entry.map(admin).transpose());
    let webhooks = document.webhooks.take().and_then(|entries| webhooks(entries, &surroundings, report));
    let email = document.email.take().and_then(|e| e.map(|e| email(e, &surroundings, report)).transpose());
    let resolver = document.resolver.take().and_then(resolver);
    let routers: BTreeMap<String, Option<Priority>> = document
        .vrrp
        .get()
        .iter()
        .flat_map(|routers| routers.iter())
        .map(|(name, router)| (name.to_owned(), router.priority.get().copied()))
        .collect();
    let sync_groups = document.sync_groups.take().and_then(|entries| sync_groups(entries, &routers, report));
    let vrrp = document.vrrp.take().and_then(|entries| instances(entries, &surroundings, report));
    let upstreams = document.upstreams.take().and_then(|entries| upstreams(entries, report));
    let servers = document.servers.take().and_then(|entries| servers(entries, &surroundings, report));
    Ok(Config {
        node: node?,
        log: log?,
        access_log: access_log?,
        admin: admin?,
        workers: workers?.0,
        drain_timeout: drain_timeout?.0,
        webhooks: webhooks?,
        email: email?,
        resolver: resolver?,
        link: link?,
        vrrp: vrrp?,
        sync_groups: sync_groups?,
        servers: servers?,
        upstreams: upstreams?,
    })
}

const NOTHING_TO_DO: &str =
    "add servers to serve pages or to forward, and vrrp to hold an address with other nodes";

/// Mails need somebody who sends them, and something to be sent for.
fn check_alerts(document: &Document, report: &mut Report<'_>) {
    let has_email = document.email.written;
    let routers = document.vrrp.get();
    let routers = routers.iter().flat_map(|routers| routers.iter());
    let mut is_wanted = false;
    for (_, router) in routers.filter(|(_, router)| router.smtp_alert.get() == Some(&true)) {
        is_wanted = true;
        if !has_email {
            let what = "smtp_alert without a mail server";
            report.error(
                router.smtp_alert.at,
                what,
                "add email at the top of the file, or remove smtp_alert",
            );
        }
    }
    if has_email && !is_wanted {
        let what = "no virtual router has smtp_alert: nothing would be sent";
        report.warn(document.email.at, what, "add smtp_alert: true to a virtual router, or remove email");
    }
}

fn node(
    written: Result<Option<NodeName>, Reported>,
    environment: &dyn Fn(&str) -> Option<String>,
    report: &mut Report<'_>,
) -> Result<String, Reported> {
    if let Some(NodeName(name)) = written? {
        return Ok(name);
    }
    let hostname = environment("HOSTNAME").filter(|name| !name.is_empty());
    let Some(hostname) = hostname else {
        return Err(report.error(
            Span::default(),
            "this node has no name, and its host neither",
            "add node: name",
        ));
    };
    super::names::node(&hostname).map_err(|fault| {
        let what = format!("the host name {}", fault.what);
        report.error(Span::default(), what, "add node: name")
    })
}

fn log(entry: LogEntry) -> Result<Log, Reported> {
    Ok(Log { level: entry.level.take()?, format: entry.format.take()? })
}

fn admin(entry: AdminEntry) -> Result<Admin, Reported> {
    Ok(Admin { listen: entry.listen.take()?.0 })
}

fn resolver(entry: ResolverEntry) -> Result<Resolver, Reported> {
    let servers = entry.servers.take()?.map_or(Ok(vec![]), |servers| servers.take())?;
    Ok(Resolver {
        servers: servers.into_iter().map(|server| server.0).collect(),
        valid: entry.valid.take()?.map(|valid| valid.0),
        timeout: entry.timeout.take()?.0,
    })
}

/// Both would accept the same connections.
fn refuse_shared_admin(document: &Document, report: &mut Report<'_>) {
    let Some(entry) = document.admin.some() else { return };
    let (Some(admin), Some(servers)) = (entry.listen.get(), document.servers.get()) else { return };
    let listen = servers.iter().filter_map(|(server, _)| server.listen.get());
    let clash = |listen: SocketAddr| {
        let same_ip =
            listen.ip() == admin.0.ip() || listen.ip().is_unspecified() || admin.0.ip().is_unspecified();
        listen.port() == admin.0.port() && same_ip && listen.is_ipv4() == admin.0.is_ipv4()
    };
    if listen.flat_map(|list| list.iter()).any(|(listen, _)| clash(listen.0)) {
        let what = format!("a server listens on {} as well", admin.0);
        report.error(entry.listen.at, what, "give the admin endpoint a port of its own");
    }
}

fn warn_unused(document: &Document, report: &mut Report<'_>) {
    let (Some(upstreams), Some(servers)) = (document.upstreams.get(), document.servers.get()) else { return };
    let used: BTreeSet<&str> = servers
        .iter()
        .filter_map(|(server, _)| server.routes.get())
        .flat_map(|routes| routes.iter())
        .filter_map(|(route, _)| route.proxy.some().and_then(|proxy| proxy.upstream.get()))
        .chain(tracked(document).map(|(name, _)| name))
        .map(|name| name.0.as_str())
        .collect();
    // A route with a misspelt name may be the missing user.
    let known: BTreeSet<&str> = upstreams.0.iter().map(|named| named.name.as_str()).collect();
    if !used.is_subset(&known) {
        return;
    }
    for named in upstreams.0.iter().filter(|named| !used.contains(named.name.as_str())) {
        let what = format!("no route uses the upstream {:?}", named.name);
        report.warn(named.at, what, "add a route with proxy, or remove the upstream");
    }
}

/// Without a check, its servers count as up whatever they do.
fn warn_unchecked(document: &Document, report: &mut Report<'_>) {
    let Some(upstreams) = document.upstreams.get() else { return };
    for (name, at) in tracked(document) {
        let entry = upstreams.iter().find(|(known, _)| *known == name.0).map(|(_, entry)| entry);
        if entry.is_some_and(|entry| matches!(entry.check.get(), Some(None))) {
            let what = format!("the upstream {:?} has no check, so that it never fails here", name.0);
            report.warn(at, what, "add a check to the upstream, or remove the track");
        }
    }
}

/// The upstreams that virtual routers track.
fn tracked(document: &Document) -> impl Iterator<Item = (&UpstreamName, Span)> {
    let routers = document.vrrp.get().into_iter().flat_map(|routers| routers.iter());
    let tracks = routers.filter_map(|(_, router)| router.track.get()).flat_map(|tracks| tracks.iter());
    tracks.filter_map(|(track, _)| Some((track.upstream.some()?, track.upstream.at)))
}

/// One server that forwards everything to one upstream, with every default: what the tests of other rooms vary.
#[cfg(test)]
pub(crate) fn example() -> Config {
    let text = "node: n\nservers: [{listen: [80], routes: [{path: /, proxy: {upstream: app}}]}]\n\
                upstreams: {app: {servers: [\"192.0.2.1:80\"]}}\n";
    let source = Source { name: "example".into(), folder: "/".into(), text: text.into() };
    load(&source, &|_| None).unwrap().config
}
