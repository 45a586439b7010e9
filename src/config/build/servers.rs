//! Virtual hosts and their routes: who answers for which name on which address, and with what.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::link::ReadFile;
use crate::config::document::{
    ErrorPageEntry, FilesEntry, ProxyEntry, RespondEntry, RouteEntry, ServerEntry,
};
use crate::config::field::{List, Map};
use crate::config::model::{Action, ClientLimits, ErrorPage, Forwarding, PathPattern, Route, Server};
use crate::config::names;
use crate::config::problem::{shown, suggestion};
use crate::config::proxy_values::{RequestTemplate, ResponseTemplate};
use crate::config::report::{Report, Reported, Span};
use crate::config::values::{Listen, ServerName};
use crate::gateway::Template;

/// Each address is a socket per worker.
const MAX_LISTEN: usize = 64;

/// What routes refer to.
pub(in crate::config) struct Surroundings<'a> {
    /// Relative folders start here.
    pub(in crate::config) folder: &'a Path,
    /// The names of all upstreams, the broken ones too.
    pub(in crate::config) upstreams: &'a BTreeSet<String>,
    /// The peers can be asked.
    pub(in crate::config) linked: bool,
    /// `None`: files are not looked into.
    pub(in crate::config) read: Option<&'a ReadFile<'a>>,
}

pub(in crate::config) fn servers(
    entries: List<ServerEntry>,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Vec<Server>, Reported> {
    refuse_shared_names(&entries, report);
    let built: Vec<_> = entries
        .0
        .into_iter()
        .map(|slot| {
            let at = slot.at;
            server(slot.take()?, at, surroundings, report)
        })
        .collect();
    built.into_iter().collect()
}

fn server(
    entry: ServerEntry,
    at: Span,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Server, Reported> {
    check_listen(&entry, report);
    check_names(&entry, report);
    let headers = entry.add_headers.take().and_then(|headers| response_headers(headers, report));
    let pages = entry.error_pages.take().and_then(|pages| error_pages(pages, surroundings, report));
    let size = entry.client_max_body_size.copied();
    let context = RouteContext { surroundings, client_max_body_size: size.ok().and_then(|size| size.0) };
    let routes = entry.routes.take().and_then(|list| routes(list, at, &context, report));
    Ok(Server {
        listen: entry.listen.take()?.take()?.into_iter().map(|listen| listen.0).collect(),
        server_names: entry.server_names.take()?.take()?.into_iter().map(|name| name.0).collect(),
        add_headers: headers?,
        error_pages: pages?,
        client: ClientLimits {
            client_header_timeout: entry.client_header_timeout.take()?.0,
            keepalive_timeout: entry.keepalive_timeout.take()?.0,
            keepalive_requests: entry.keepalive_requests.take()?.0,
            client_body_timeout: entry.client_body_timeout.take()?.0,
            send_timeout: entry.send_timeout.take()?.0,
            client_max_body_size: size?.0,
        },
        routes: routes?,
    })
}

/// What the routes of one server have in common.
struct RouteContext<'a> {
    surroundings: &'a Surroundings<'a>,
    client_max_body_size: Option<u64>,
}

fn error_pages(
    entries: List<ErrorPageEntry>,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Vec<ErrorPage>, Reported> {
    let mut seen = HashSet::new();
    let mut pages = Vec::new();
    for slot in entries.0 {
        let page = slot.take().and_then(|entry| {
            let (place, at) = (entry.status.at, entry.file.at);
            let statuses = entry.status.take()?.take()?;
            let statuses: Vec<u16> =
                statuses.into_iter().map(|status| u16::try_from(status.0).unwrap_or(u16::MAX)).collect();
            if let Some(twice) = statuses.iter().find(|status| !seen.insert(**status)) {
                return Err(report.error(
                    place,
                    format!("{twice} has a page already"),
                    "keep one of the two",
                ));
            }
            let file = absolute(surroundings, &entry.file.take()?.0, at, report)?;
            Ok(ErrorPage { statuses, file })
        });
        pages.push(page);
    }
    pages.into_iter().collect()
}

pub(super) fn absolute(
    surroundings: &Surroundings<'_>,
    path: &str,
    at: Span,
    report: &mut Report<'_>,
) -> Result<PathBuf, Reported> {
    let path = surroundings.folder.join(path);
    if path.is_absolute() {
        return Ok(path);
    }
    let what = format!("{} is relative to an unknown place", shown(&path.to_string_lossy()));
    Err(report.error(at, what, "write an absolute path, or give the config file's absolute path"))
}

/// On one address, a name has one server, and so has "every name".
fn refuse_shared_names(entries: &List<ServerEntry>, report: &mut Report<'_>) {
    let mut owners: HashMap<(SocketAddr, Option<&str>), (usize, Span)> = HashMap::new();
    for (server, (entry, _)) in entries.iter().enumerate() {
        let (Some(listen), Some(names)) = (entry.listen.get(), entry.server_names.get()) else { continue };
        let claims: Vec<(Option<&str>, Span)> = if names.0.is_empty() {
            vec![(None, entry.listen.at)]
        } else {
            names.iter().map(|(name, at)| (Some(name.0.as_str()), at)).collect()
        };
        for (Listen(address), _) in listen.iter().take(MAX_LISTEN) {
            for (name, at) in &claims {
                let (owner, first) = *owners.entry((*address, *name)).or_insert((server, *at));
                if owner != server {
                    report_shared_name(*address, *name, report.line(first), *at, report);
                }
            }
        }
    }
}

fn report_shared_name(
    address: SocketAddr,
    name: Option<&str>,
    line: usize,
    at: Span,
    report: &mut Report<'_>,
) {
    let (what, remedy) = match name {
        Some(name) => (
            format!("on {address}, the server in line {line} already answers for {}", shown(name)),
            "give each server its own names or addresses",
        ),
        None => (
            format!("on {address}, the server in line {line} already answers for every name"),
            "add server_names to one of the two, or let them listen on different addresses",
        ),
    };
    report.error(at, what, remedy);
}

fn check_listen(entry: &ServerEntry, report: &mut Report<'_>) {
    let Some(listen) = entry.listen.get() else { return };
    if listen.0.is_empty() {
        report.error(
            entry.listen.at,
            "a server that listens nowhere answers nothing",
            "add a port, such as [80]",
        );
    }
    if listen.0.len() > MAX_LISTEN {
        let what = format!("more than {MAX_LISTEN} addresses");
        report.error(entry.listen.at, what, "listen on a port of every address: [80]");
    }
    let mut seen = HashSet::new();
    for (Listen(address), at) in listen.iter() {
        if !seen.insert(address) {
            report.error(at, format!("{address} is listed twice"), "keep one of the two");
        }
    }
}

fn check_names(entry: &ServerEntry, report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    for (ServerName(name), at) in entry.server_names.get().iter().flat_map(|names| names.iter()) {
        if !seen.insert(name) {
            report.error(at, format!("{name} is listed twice"), "keep one of the two");
        }
    }
}

fn response_headers(
    entries: Map<ResponseTemplate>,
    report: &mut Report<'_>,
) -> Result<Vec<(String, Template)>, Reported> {
    headers(entries, |value| value.0, report)
}

fn request_headers(
    entries: Map<RequestTemplate>,
    report: &mut Report<'_>,
) -> Result<Vec<(String, Template)>, Reported> {
    headers(entries, |value| value.0, report)
}

fn headers<T>(
    entries: Map<T>,
    template: impl Fn(T) -> Template,
    report: &mut Report<'_>,
) -> Result<Vec<(String, Template)>, Reported> {
    let mut seen = HashSet::new();
    let mut headers = Vec::new();
    for named in entries.0 {
        let name = names::header_name(&named.name)
            .map_err(|fault| report.error(named.at, fault.what, fault.remedy))
            .and_then(|name| {
                if seen.insert(name.to_ascii_lowercase()) {
                    return Ok(name);
                }
                let what = format!("the header {} is already there", shown(&name));
                Err(report.error(named.at, what, "keep one of the two; case makes no difference"))
            });
        headers.push(name.and_then(|name| Ok((name, template(named.slot.take()?)))));
    }
    headers.into_iter().collect()
}

fn routes(
    entries: List<RouteEntry>,
    server: Span,
    context: &RouteContext<'_>,
    report: &mut Report<'_>,
) -> Result<Vec<Route>, Reported> {
    if entries.0.is_empty() {
        return Err(report.error(
            server,
            "a server without routes answers 404 to everything",
            "add a route, such as {path: /, files: {root: html}}",
        ));
    }
    let mut seen: HashMap<PathPattern, Span> = HashMap::new();
    let mut built = Vec::new();
    for slot in entries.0 {
        let at = slot.at;
        built.push(slot.take().and_then(|entry| {
            let place = entry.path.some().map_or(entry.exact.at, |_| entry.path.at);
            let route = route(entry, at, context, report)?;
            match seen.get(&route.pattern) {
                Some(first) => {
                    let what = format!("the route in line {} already matches this path", report.line(*first));
                    Err(report.error(place, what, "keep one of the two"))
                }
                None => {
                    seen.insert(route.pattern.clone(), place);
                    Ok(route)
                }
            }
        }));
    }
    built.into_iter().collect()
}

fn route(
    entry: RouteEntry,
    at: Span,
    context: &RouteContext<'_>,
    report: &mut Report<'_>,
) -> Result<Route, Reported> {
    let surroundings = context.surroundings;
    let add_headers = entry.add_headers.take().and_then(|entries| response_headers(entries, report));
    let size = entry.client_max_body_size.copied()?;
    let access_log = entry.access_log.take()?;
    let pattern = match (entry.path.take(), entry.exact.take()) {
        (Ok(Some(path)), Ok(None)) => Ok(PathPattern::Prefix(path.0)),
        (Ok(None), Ok(Some(path))) => Ok(PathPattern::Exact(path.0)),
        (Ok(None), Ok(None)) => Err(report.error(at, "a route needs a path", "add path: / or exact: /name")),
        (Ok(Some(_)), Ok(Some(_))) => {
            Err(report.error(at, "a route matches either a path or an exact path", "make two routes of it"))
        }
        (Err(reported), _) | (_, Err(reported)) => Err(reported),
    };
    let (files, proxy, respond) = (entry.files.take(), entry.proxy.take(), entry.respond.take());
    let action = match (files?, proxy?, respond?) {
        (Some(entry), None, None) => files_action(entry, surroundings, report),
        (None, Some(entry), None) => proxy_action(entry, surroundings, report),
        (None, None, Some(entry)) => respond_action(entry, report),
        (None, None, None) => {
            Err(report.error(at, "a route needs something to answer with", "add files, proxy or respond"))
        }
        _ => {
            Err(report.error(at, "a route answers with one of files, proxy and respond", "keep one of them"))
        }
    };
    Ok(Route {
        pattern: pattern?,
        action: action?,
        add_headers: add_headers?,
        client_max_body_size: size.map_or(context.client_max_body_size, |size| size.0),
        access_log,
    })
}

fn files_action(
    entry: FilesEntry,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Action, Reported> {
    let at = entry.root.at;
    let root = absolute(surroundings, &entry.root.take()?.0, at, report)?;
    Ok(Action::Files { root, index: entry.index.take()?.0 })
}

fn proxy_action(
    entry: ProxyEntry,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Action, Reported> {
    let at = entry.upstream.at;
    let set_headers = entry.set_headers.take().and_then(|entries| request_headers(entries, report));
    let upstream = upstream_name(entry.upstream.take()?.0, at, surroundings, report)?;
    Ok(Action::Proxy(Forwarding {
        upstream,
        uri: entry.uri.take()?.map(|uri| uri.0),
        set_headers: set_headers?,
        hide_headers: entry.hide_headers.take()?.take()?.into_iter().map(|name| name.0).collect(),
        forwarded: entry.forwarded.take()?,
        via: entry.via.take()?,
    }))
}

/// The name of one that there is.
pub(super) fn upstream_name(
    upstream: String,
    at: Span,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<String, Reported> {
    if surroundings.upstreams.contains(&upstream) {
        return Ok(upstream);
    }
    let what = format!("there is no upstream {}", shown(&upstream));
    let remedy = if report.is_full() { String::new() } else { unknown_upstream(&upstream, surroundings) };
    Err(report.error(at, what, remedy))
}

fn unknown_upstream(upstream: &str, surroundings: &Surroundings<'_>) -> String {
    /// More names would hide the one that is meant.
    const NAMES: usize = 10;
    let names = surroundings.upstreams;
    match suggestion(upstream, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {name:?}?"),
        None if names.is_empty() => format!("add upstreams: {{{upstream}: {{servers: [..]}}}}"),
        None if names.len() > NAMES => "write the name of one of the upstreams".into(),
        None => format!("the upstreams are {}", Vec::from_iter(names.iter().map(String::as_str)).join(", ")),
    }
}

fn respond_action(entry: RespondEntry, report: &mut Report<'_>) -> Result<Action, Reported> {
    let RespondEntry { status, r#type, body } = entry;
    let at = body.at;
    let status = u16::try_from(status.take()?.0).unwrap_or(u16::MAX);
    let (content_type, body) = (r#type.take()?.0, body.take()?);
    // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        let what = format!("an answer with status {status} has no body");
        return Err(report.error(at, what, "remove the body, or use another status"));
    }
    Ok(Action::Respond { status, content_type, body })
}
