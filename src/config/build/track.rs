//! What a virtual router tracks: one thing per item, and only the keys that mean something for it.

use std::collections::HashSet;

use super::servers::{Surroundings, absolute, upstream_name};
use crate::config::document::TrackEntry;
use crate::config::field::List;
use crate::config::report::{Report, Reported, Span};
use crate::config::track::{Track, TrackCheck, TrackCheckKind, Tracked};

/// Each is looked at for itself, some of them in a task of their own.
const MAX_TRACKS: usize = 64;

pub(super) fn tracks(
    entries: List<TrackEntry>,
    at: Span,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Vec<Track>, Reported> {
    if entries.0.len() > MAX_TRACKS {
        return Err(report.error(at, format!("more than {MAX_TRACKS} tracks"), "track fewer things"));
    }
    let mut tracks = Vec::new();
    let mut seen = HashSet::new();
    for slot in entries.0 {
        let at = slot.at;
        let built = slot.take().and_then(|entry| track(entry, at, surroundings, report));
        tracks.push(built.and_then(|track| {
            if seen.insert(track.what.clone()) {
                return Ok(track);
            }
            Err(report.error(at, "this is tracked already", "keep one of the two"))
        }));
    }
    tracks.into_iter().collect()
}

fn track(
    entry: TrackEntry,
    at: Span,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Track, Reported> {
    refuse_idle_keys(&entry, report)?;
    let weight = entry.weight.copied()?.map(|weight| weight.0);
    let interval = entry.interval.copied()?.0;
    let (place, upstream_at) = (entry.file.at, entry.upstream.at);
    let what = match (
        entry.interface.take()?,
        entry.file.take()?,
        entry.tcp.take()?,
        entry.http.take()?,
        entry.command.take()?,
        entry.upstream.take()?,
    ) {
        (Some(name), None, None, None, None, None) => Tracked::Interface(name),
        (None, Some(path), None, None, None, None) => {
            Tracked::File { path: absolute(surroundings, &path.0, place, report)?, interval }
        }
        (None, None, None, None, None, Some(name)) => {
            Tracked::Upstream(upstream_name(name.0, upstream_at, surroundings, report)?)
        }
        (None, None, tcp, http, command, None) => {
            let host = entry.host.take()?.map(|host| host.0);
            let uri = entry.uri.take()?.0;
            let kind = match (tcp, http, command) {
                (Some(address), None, None) => TrackCheckKind::Tcp(address.0),
                (None, Some(address), None) => TrackCheckKind::Http {
                    address: address.0,
                    uri,
                    host: host.unwrap_or_else(|| address.0.to_string()),
                },
                (None, None, Some(command)) => TrackCheckKind::Command(command.0),
                _ => return Err(report.error(at, ONE_OF, ONE_EACH)),
            };
            Tracked::Check(TrackCheck {
                kind,
                interval,
                timeout: entry.timeout.copied()?.map_or(interval, |timeout| timeout.0),
                rise: entry.rise.copied()?.0,
                fall: entry.fall.copied()?.0,
                init_fail: entry.init_fail.take()?,
            })
        }
        _ => return Err(report.error(at, ONE_OF, ONE_EACH)),
    };
    let usual = if matches!(what, Tracked::File { .. }) { 1 } else { 0 };
    Ok(Track { what, weight: weight.unwrap_or(usual) })
}

const ONE_OF: &str = "a track is one of interface, file, tcp, http, command and upstream";
const ONE_EACH: &str = "write one of them, and an item for each other one";

/// A key that is written where it does nothing is a mistake.
fn refuse_idle_keys(entry: &TrackEntry, report: &mut Report<'_>) -> Result<(), Reported> {
    let (file, tcp, http) = (entry.file.written, entry.tcp.written, entry.http.written);
    let is_check = tcp || http || entry.command.written;
    let TrackEntry { uri, host, interval, timeout, rise, fall, init_fail, .. } = entry;
    let mut refused = Ok(());
    for (key, written, at, means) in [
        ("uri", uri.written, uri.at, http),
        ("host", host.written, host.at, http),
        ("interval", interval.written, interval.at, is_check || file),
        ("timeout", timeout.written, timeout.at, is_check),
        ("rise", rise.written, rise.at, is_check),
        ("fall", fall.written, fall.at, is_check),
        ("init_fail", init_fail.written, init_fail.at, is_check),
    ] {
        if written && !means {
            let what = format!("{key} means nothing for what is tracked here");
            refused = Err(report.error(at, what, format!("remove {key}")));
        }
    }
    refused
}
