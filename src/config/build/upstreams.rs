//! Groups of servers: defaults that depend on each other, and keys that only some kinds of check have.

use std::collections::HashSet;

use crate::config::document::{CheckEntry, TimeoutsEntry, UpstreamEntry, UpstreamServerEntry};
use crate::config::field::{List, Map, Named};
use crate::config::model::{
    Balance, Check, CheckKind, Host, NextUpstream, RetryOn, Upstream, UpstreamServer,
};
use crate::config::names;
use crate::config::proxy_values::NextReason;
use crate::config::report::{Report, Reported};
use crate::config::values::{CheckType, RetryReason};

/// Each has connections, counters and checks of its own in every worker.
const MAX_UPSTREAMS: usize = 1_000;

pub(in crate::config) fn upstreams(
    entries: Map<UpstreamEntry>,
    report: &mut Report<'_>,
) -> Result<Vec<Upstream>, Reported> {
    if let Some(named) = entries.0.get(MAX_UPSTREAMS) {
        return Err(report.error(
            named.at,
            format!("more than {MAX_UPSTREAMS} upstreams"),
            "divide them between several proxies",
        ));
    }
    let built: Vec<_> = entries.0.into_iter().map(|named| upstream(named, report)).collect();
    built.into_iter().collect()
}

fn upstream(named: Named<UpstreamEntry>, report: &mut Report<'_>) -> Result<Upstream, Reported> {
    let Named { name, at, slot } = named;
    let name = names::label(&name).map_err(|fault| report.error(at, fault.what, fault.remedy));
    let entry = slot.take()?;
    check_servers(&entry, report);
    check_retry(&entry, report);
    check_next(&entry, report);
    let label = name.as_deref().unwrap_or_default();
    let check = entry.check.take()?.map(|check| health_check(check, label, report));
    let TimeoutsEntry { connect, first_byte, read, send } = entry.timeouts.take()?;
    let retry_on = entry.retry_on.take()?.take()?;
    let next = entry.next_upstream.take()?.take()?;
    let next_upstream = NextUpstream {
        error: next.contains(&NextReason::Error),
        timeout: next.contains(&NextReason::Timeout),
        invalid_header: next.contains(&NextReason::InvalidHeader),
        statuses: next.iter().filter_map(NextReason::status).collect(),
        non_idempotent: next.contains(&NextReason::NonIdempotent),
        tries: entry.next_upstream_tries.take()?.0,
        timeout_after: entry.next_upstream_timeout.take()?.0,
    };
    Ok(Upstream {
        name: name?,
        balance: entry.balance.take()?,
        next_upstream,
        servers: entry.servers.take()?.take()?.into_iter().map(server).collect::<Result<_, _>>()?,
        check: check.transpose()?,
        retries: entry.retries.take()?.0,
        redispatch: entry.redispatch.take()?,
        retry_on: RetryOn {
            conn_failure: retry_on.contains(&RetryReason::ConnFailure),
            empty_response: retry_on.contains(&RetryReason::EmptyResponse),
            response_timeout: retry_on.contains(&RetryReason::ResponseTimeout),
        },
        connect_timeout: connect.take()?.0,
        first_byte_timeout: first_byte.take()?.0,
        read_timeout: read.take()?.0,
        send_timeout: send.take()?.0,
        keepalive: entry.keepalive.take()?.0,
        keepalive_requests: entry.keepalive_requests.take()?.0,
        keepalive_timeout: entry.keepalive_timeout.take()?.0,
    })
}

fn server(entry: UpstreamServerEntry) -> Result<UpstreamServer, Reported> {
    let UpstreamServerEntry(entry) = entry;
    let address = entry.address.take()?;
    let weight = u16::try_from(entry.weight.copied()?.0).unwrap_or(u16::MAX);
    Ok(UpstreamServer {
        host: address.host,
        port: address.port,
        weight,
        backup: entry.backup.take()?,
        down: entry.down.take()?,
        max_conns: entry.max_conns.take()?.0,
        max_fails: entry.max_fails.take()?.0,
        fail_timeout: entry.fail_timeout.take()?.0,
    })
}

fn check_servers(entry: &UpstreamEntry, report: &mut Report<'_>) {
    let Some(servers) = entry.servers.get() else { return };
    if servers.0.is_empty() {
        let remedy = "add a server, such as [\"app:8080\"]";
        report.error(entry.servers.at, "an upstream without servers answers nothing", remedy);
    }
    // nginx refuses the same: these two choose by the client or by chance, among servers that are alike.
    let alike = matches!(entry.balance.get(), Some(Balance::IpHash | Balance::Random));
    for (UpstreamServerEntry(server), _) in servers.iter() {
        if alike && server.backup.get() == Some(&true) {
            let what = "a backup server does not go together with ip_hash and random";
            report.error(server.backup.at, what, "remove backup, or use round_robin or least_conn");
        }
    }
    let asked = |(entry, _): (&UpstreamServerEntry, _)| entry.0.down.get() != Some(&true);
    if !servers.0.is_empty() && servers.iter().count() == servers.0.len() && !servers.iter().any(asked) {
        report.warn(
            entry.servers.at,
            "every server is down: true, so that nothing is answered",
            "remove one",
        );
    }
    let mut seen: HashSet<(&Host, u16)> = HashSet::new();
    for (UpstreamServerEntry(server), at) in servers.iter() {
        let Some(address) = server.address.get() else { continue };
        if !seen.insert((&address.host, address.port)) {
            let what = format!("{}:{} is listed twice", address.host, address.port);
            report.error(at, what, "keep one of the two, with a higher weight");
        }
    }
}

fn check_retry(entry: &UpstreamEntry, report: &mut Report<'_>) {
    let wants = |list: &List<RetryReason>| list.iter().any(|(r, _)| *r == RetryReason::ResponseTimeout);
    let unbounded = entry
        .timeouts
        .get()
        .and_then(|timeouts| timeouts.first_byte.get())
        .is_some_and(|bound| bound.0.is_none());
    if unbounded && entry.retry_on.get().is_some_and(wants) {
        let what = "response_timeout never happens without a bound for the first byte";
        report.warn(entry.retry_on.at, what, "add timeouts: {first_byte: ..}, or remove response_timeout");
    }
}

fn check_next(entry: &UpstreamEntry, report: &mut Report<'_>) {
    let Some(reasons) = entry.next_upstream.get() else { return };
    let off = reasons.iter().find(|(reason, _)| **reason == NextReason::Off);
    if let Some((_, at)) = off.filter(|_| reasons.0.len() > 1) {
        report.error(at, "off stands beside reasons to ask another server", "write [off], or remove off");
    }
    let retries = entry.retries.get().is_none_or(|retries| retries.0 == 0);
    let listed = entry.retry_on.get().is_some_and(|list| !list.0.is_empty());
    for (key, written, at) in [
        ("retry_on", entry.retry_on.written && listed, entry.retry_on.at),
        ("redispatch", entry.redispatch.written, entry.redispatch.at),
    ] {
        if written && retries {
            let what = format!("{key} means nothing without retries");
            report.warn(
                at,
                what,
                "add retries: 3, or remove it; other servers are asked as next_upstream says",
            );
        }
    }
}

fn health_check(entry: CheckEntry, upstream: &str, report: &mut Report<'_>) -> Result<Check, Reported> {
    let inter = entry.inter.copied()?.0;
    let kind = match entry.r#type.copied()? {
        CheckType::Http => CheckKind::Http {
            method: entry.method.take()?.0,
            uri: entry.uri.take()?.0,
            host: entry.host.take()?.map_or_else(|| upstream.to_owned(), |host| host.0),
        },
        CheckType::Tcp => {
            let (method, uri, host) = (&entry.method, &entry.uri, &entry.host);
            let keys = [
                ("method", method.written, method.at),
                ("uri", uri.written, uri.at),
                ("host", host.written, host.at),
            ];
            for (key, _, at) in keys.into_iter().filter(|(_, written, _)| *written) {
                let what = format!("a tcp check sends no request, so {key} means nothing");
                report.error(at, what, format!("add type: http, or remove {key}"));
            }
            CheckKind::Tcp
        }
    };
    Ok(Check {
        kind,
        inter,
        timeout: entry.timeout.copied()?.map_or(inter, |timeout| timeout.0),
        rise: entry.rise.copied()?.0,
        fall: entry.fall.copied()?.0,
    })
}
