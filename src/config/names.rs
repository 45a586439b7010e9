//! Which texts are names, paths and header fields.

use super::field::Fault;
use super::problem::shown;

/// DNS's bound (RFC 1035 section 2.3.4).
const MAX_HOST_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// Names appear in every log line and in headers.
const MAX_NAME: usize = 64;

/// A name that DNS may know, lower-case. Underscores are common in Compose service names; a last label of digits only
/// is a broken address, not a name (RFC 1123 section 2.1).
pub(super) fn host_name(text: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = text.rsplit('.').next().unwrap_or("");
    let name = text.len() <= MAX_HOST_NAME
        && text.split('.').all(label)
        && !last.bytes().all(|b| b.is_ascii_digit());
    name.then(|| text.to_ascii_lowercase())
}

pub(super) fn node(text: &str) -> Result<String, Fault> {
    let legal = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    rule(legal, text, "cannot be the name of a node", "write 1 to 64 visible ASCII characters without spaces")
}

/// The name of an instance or an upstream.
pub(super) fn label(text: &str) -> Result<String, Fault> {
    let legal = (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    rule(legal, text, "is not usable as a name", "write 1 to 64 letters, digits, \"-\", \"_\" or \".\"")
}

pub(super) fn server(text: &str) -> Result<String, Fault> {
    if text.contains('*') {
        return Err(Fault::new(
            format!("{} is a pattern, and server names are compared as they are", shown(text)),
            "list the names, or leave server_names out to answer for every name",
        ));
    }
    let address = text.parse::<std::net::Ipv4Addr>().is_ok();
    match host_name(text) {
        Some(name) => Ok(name),
        None => {
            rule(address, text, "is not a host name", "write a host name such as example.org, without a port")
        }
    }
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Names that say how a message is cut out of the stream; the engine alone writes them.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn header_name(text: &str) -> Result<String, Fault> {
    if FRAMING.iter().any(|name| name.eq_ignore_ascii_case(text)) {
        return Err(Fault::new(
            format!("the header {} is written by vipgate itself", shown(text)),
            "remove it; a second one would break the connection",
        ));
    }
    rule(
        is_token(text),
        text,
        "cannot be the name of a header",
        "write letters, digits and \"-\", as in X-Served-By",
    )
}

/// RFC 9110 section 5.5: no control character but the tab.
pub(super) fn header_value(text: &str) -> Result<String, Fault> {
    let legal = text.chars().all(|c| c == '\t' || !c.is_control());
    rule(legal, text, "contains a control character", "write the value on one line")
}

/// What a route compares with a request's path, which is decoded and without empty, "." and ".." segments by then.
pub(super) fn path(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        return Err(Fault::new(
            format!("the path {} does not start with \"/\"", shown(text)),
            format!("write {}", shown(&format!("/{text}"))),
        ));
    }
    if text.contains(['?', '#']) {
        return Err(Fault::new(
            format!("{} is more than a path", shown(text)),
            "remove \"?\" or \"#\" and what follows; a route matches the path only",
        ));
    }
    let segments = text.strip_prefix('/').unwrap_or(text);
    let unreachable = text.contains("//") || segments.split('/').any(|s| s == "." || s == "..");
    let legal = !unreachable && !text.chars().any(char::is_control);
    rule(
        legal,
        text,
        "can never match",
        "remove empty, \".\" and \"..\" segments and control characters; a request's path has none left when it is compared",
    )
}

/// RFC 9112 section 3.2.1: what stands in a request line.
pub(super) fn target(text: &str) -> Result<String, Fault> {
    let legal = text.starts_with('/') && !text.contains('#') && text.bytes().all(|b| b.is_ascii_graphic());
    rule(
        legal,
        text,
        "cannot be requested",
        "write a path that starts with \"/\", percent-encoded where needed",
    )
}

pub(super) fn method(text: &str) -> Result<String, Fault> {
    // CONNECT would ask for a tunnel, not for health.
    let legal = is_token(text) && !text.bytes().any(|b| b.is_ascii_lowercase()) && text != "CONNECT";
    rule(legal, text, "is not a method", "write GET, HEAD or OPTIONS, in capitals")
}

pub(super) fn authority(text: &str) -> Result<String, Fault> {
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => text,
    };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let legal = host_name(host).is_some()
        || host.parse::<std::net::Ipv4Addr>().is_ok()
        || bracketed.is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok());
    rule(legal, text, "cannot be a Host header", "write a host name such as example.org")
}

pub(super) fn folder(text: &str) -> Result<String, Fault> {
    let legal = !text.is_empty() && !text.contains('\0');
    rule(legal, text, "is not a folder", "write a path, relative to the config file or absolute")
}

pub(super) fn file(text: &str) -> Result<String, Fault> {
    let legal = !text.is_empty() && !text.contains(['/', '\0']) && text != "." && text != "..";
    rule(legal, text, "is not the name of one file", "write a name without \"/\", such as index.html")
}

fn rule(legal: bool, text: &str, what: &str, remedy: &str) -> Result<String, Fault> {
    if legal { Ok(text.to_owned()) } else { Err(Fault::new(format!("{} {what}", shown(text)), remedy)) }
}
