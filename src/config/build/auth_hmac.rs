//! A virtual router's `auth_hmac`: its keys, and what does not go together with them.

use std::path::Path;

use super::link::ReadFile;
use super::servers::{Surroundings, absolute};
use crate::config::auth_hmac::{AuthHmac, AuthHmacKey, AuthHmacKeys};
use crate::config::document::{AuthHmacEntry, AuthHmacKeyEntry, VrrpEntry};
use crate::config::field::List;
use crate::config::report::{Report, Reported, Span};
use crate::config::values::AuthModeChoice;
use crate::net::Centiseconds;
use crate::vrrp::{AuthKey, AuthKeyFault};

/// keepalived's default: three intervals, and at least so many seconds.
const TIME_WINDOW_AT_LEAST: u32 = 5;
const CENTISECONDS_PER_SECOND: u32 = 100;

/// `interval`: `None` if it could not be read.
pub(super) fn auth_hmac(
    entry: &VrrpEntry,
    interval: Option<&Centiseconds>,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<AuthHmac, Reported> {
    let has_password = entry.authentication.as_ref()?.is_some();
    let at = entry.auth_hmac.at;
    let Some(auth_hmac) = entry.auth_hmac.as_ref()? else {
        return Ok(if has_password { AuthHmac::Off } else { AuthHmac::Linked });
    };
    let AuthModeChoice::On(mode) = auth_hmac.mode.copied()? else { return off(auth_hmac, report) };
    if has_password {
        let what = "auth_hmac and authentication do not go together";
        return Err(report.error(at, what, "keep auth_hmac, unless a peer knows nothing but the password"));
    }
    let keys_at = auth_hmac.keys.at;
    let mut keys = keys(auth_hmac.keys.as_ref()?, surroundings, report)?;
    if keys.is_empty() {
        let remedy = "list the same keys on every node, or write mode: off";
        return Err(report.error(keys_at, "auth_hmac has no keys", remedy));
    }
    if let Some(active) = auth_hmac.active_key.copied()? {
        let Some(index) = keys.iter().position(|key| u32::from(key.id) == active.0) else {
            let what = format!("there is no key with the id {}", active.0);
            return Err(report.error(auth_hmac.active_key.at, what, "write the id of one of the keys"));
        };
        let active = keys.remove(index);
        keys.insert(0, active);
    }
    let time_window = match auth_hmac.time_window.copied()? {
        Some(window) if window.0.subsec_nanos() != 0 => {
            let what = "time_window is counted in whole seconds";
            return Err(report.error(auth_hmac.time_window.at, what, "write 1s to 300s"));
        }
        Some(window) => u32::try_from(window.0.as_secs()).unwrap_or(u32::MAX),
        None => {
            let interval = interval.map_or(0, |interval| u32::from(interval.get()));
            (3 * interval).div_ceil(CENTISECONDS_PER_SECOND).max(TIME_WINDOW_AT_LEAST)
        }
    };
    let anti_replay = auth_hmac.anti_replay.copied()?;
    Ok(AuthHmac::Keys(AuthHmacKeys { keys, anti_replay, time_window, mode }))
}

fn off(auth_hmac: &AuthHmacEntry, report: &mut Report<'_>) -> Result<AuthHmac, Reported> {
    if auth_hmac.keys.as_ref()?.0.is_empty() {
        return Ok(AuthHmac::Off);
    }
    Err(report.error(auth_hmac.mode.at, "mode: off has no use for keys", "remove the keys, or the mode"))
}

fn keys(
    entries: &List<AuthHmacKeyEntry>,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Vec<AuthHmacKey>, Reported> {
    let mut keys: Vec<AuthHmacKey> = Vec::new();
    let mut built = Ok(());
    for slot in &entries.0 {
        let key = slot.as_ref().and_then(|entry| key(entry, surroundings, report));
        match key {
            Ok(key) if keys.iter().any(|other| other.id == key.id) => {
                let what = format!("there are two keys with the id {}", key.id);
                built = Err(report.error(
                    slot.at,
                    what,
                    "give each key an id of its own, the same on every node",
                ));
            }
            Ok(key) => keys.push(key),
            Err(reported) => built = Err(reported),
        }
    }
    built.map(|()| keys)
}

fn key(
    entry: &AuthHmacKeyEntry,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<AuthHmacKey, Reported> {
    let at = entry.key_file.at;
    let id = u8::try_from(entry.id.copied()?.0)
        .map_err(|error| report.error(entry.id.at, error.to_string(), "report this bug"))?;
    let file = absolute(surroundings, &entry.key_file.as_ref()?.0, at, report)?;
    if let Some(read) = surroundings.read {
        check(id, &file, read, at, report)?;
    }
    Ok(AuthHmacKey { id, file })
}

/// Without its key a virtual router cannot be told from a forger.
fn check(
    id: u8,
    file: &Path,
    read: &ReadFile<'_>,
    at: Span,
    report: &mut Report<'_>,
) -> Result<(), Reported> {
    let shown = file.display();
    match read(file).map(|bytes| AuthKey::parse(id, &bytes)) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(fault)) => Err(report.error(at, format!("{shown}: {fault}"), AuthKeyFault::REMEDY)),
        Err(error) => {
            let remedy = "let root read it without capabilities: it has to own the file, or everybody may read it, in a \
                          folder that others do not reach";
            Err(report.error(at, format!("{shown} cannot be read: {error}"), remedy))
        }
    }
}
