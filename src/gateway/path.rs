//! The path that routes and files are matched with: percent-decoded, dot segments resolved, slashes merged, as nginx
//! does it. What is forwarded is the path as it was written.

use std::borrow::Cow;

use crate::http1::append_path;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("path with a broken percent encoding")]
    Encoding,
    #[error("path with a NUL byte")]
    Nul,
    #[error("path that climbs above its root")]
    Climbs,
}

/// `path` starts with a slash, or is empty (an absolute-form target without a path), or is `*`.
///
/// Encoded slashes and dots count as what they encode: a file or an upstream may well decode them later.
pub fn normalise(path: &[u8]) -> Result<Cow<'_, [u8]>, PathError> {
    if is_normal(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    match decoded.first() {
        None => Ok(Cow::Borrowed(b"/")),
        Some(b'/') => resolve(&decoded).map(Cow::Owned),
        Some(_) => Ok(Cow::Owned(decoded)),
    }
}

/// Most paths are, and cost no memory. A name that begins with a dot is not told from a dot segment here.
fn is_normal(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && memchr::memchr2(b'%', 0, path).is_none()
        && memchr::memchr_iter(b'/', path).all(|at| !matches!(path.get(at + 1), Some(b'/' | b'.')))
}

fn decode(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let byte = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low).ok_or(PathError::Encoding)?
            }
            (b'%', _) => return Err(PathError::Encoding),
            (byte, _) => *byte,
        };
        if byte == 0 {
            return Err(PathError::Nul);
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

fn resolve(decoded: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut path = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" | b"." => (),
            b".." => {
                let parent = path.iter().rposition(|b| *b == b'/').ok_or(PathError::Climbs)?;
                path.truncate(parent);
            }
            name => {
                path.push(b'/');
                path.extend_from_slice(name);
                continue;
            }
        }
        if last {
            path.push(b'/');
        }
    }
    Ok(path)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|n| n as u8)
}

/// What is asked for in the place of a normalised `path` (nginx's `proxy_pass` with a URI): `uri`, then what follows the
/// first `matched` bytes of the path (nothing if they were all of it), encoded anew, then `query` with its question mark.
pub fn replaced_target(out: &mut Vec<u8>, uri: &str, path: &[u8], matched: Option<usize>, query: &[u8]) {
    out.extend_from_slice(uri.as_bytes());
    append_path(out, matched.and_then(|matched| path.get(matched..)).unwrap_or_default());
    out.extend_from_slice(query);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_one_form() {
        use PathError::*;
        let table: [(&str, Result<&str, PathError>); 33] = [
            ("", Ok("/")),
            ("*", Ok("*")),
            ("/", Ok("/")),
            ("/a", Ok("/a")),
            ("/a/", Ok("/a/")),
            ("//a///b", Ok("/a/b")),
            ("/a//", Ok("/a/")),
            ("/./a", Ok("/a")),
            ("/a/.", Ok("/a/")),
            ("/a/./", Ok("/a/")),
            ("/a/..", Ok("/")),
            ("/a/../b", Ok("/b")),
            ("/a/b/../../c", Ok("/c")),
            ("/a/...", Ok("/a/...")),
            ("/.a/..b/c..", Ok("/.a/..b/c..")),
            ("/..", Err(Climbs)),
            ("/a/../..", Err(Climbs)),
            ("/%2e%2e/x", Err(Climbs)),
            ("/a%2Fb", Ok("/a/b")),
            ("/a/%2e%2e%2fb", Ok("/b")),
            ("/%41%2b", Ok("/A+")),
            ("/%2541", Ok("/%41")),
            ("/a%3Fb", Ok("/a?b")),
            ("/%", Err(Encoding)),
            ("/%4", Err(Encoding)),
            ("/%4g", Err(Encoding)),
            ("/%00", Err(Nul)),
            ("/a\0", Err(Nul)),
            ("a", Ok("a")),
            ("%2fa", Ok("/a")),
            ("/a.b/c", Ok("/a.b/c")),
            ("//..", Err(Climbs)),
            ("/a//../b", Ok("/b")),
        ];
        for (path, expect) in table {
            let got = normalise(path.as_bytes()).map(|p| String::from_utf8(p.into_owned()).unwrap());
            assert_eq!(got.as_deref().map_err(|e| *e), expect, "{path:?}");
        }
    }

    /// The short way around must never say something else than the long one.
    #[test]
    fn what_is_normal_stays_as_it_is() {
        let alphabet = b"/.a%\0";
        for n in 0..5u32.pow(6) {
            let path: Vec<u8> = (0..6).map(|i| alphabet[(n / 5u32.pow(i) % 5) as usize]).collect();
            let long = decode(&path).and_then(|d| if d[0] == b'/' { resolve(&d) } else { Ok(d) });
            assert_eq!(normalise(&path).map(Cow::into_owned), long, "{path:?}");
            if let Ok(once) = long
                && once[0] == b'/'
                && !once.contains(&b'%')
            {
                assert_eq!(normalise(&once).as_deref(), Ok(&once[..]), "twice: {path:?}");
            }
        }
    }

    #[test]
    fn a_path_is_replaced_as_proxy_pass_does_it() {
        let table = [
            ("/", "/api/v1", Some("/api"), "", "//v1"),
            ("/", "/api/v1", Some("/api/"), "?q", "/v1?q"),
            ("/v2/", "/api/a b%/\u{e4}", Some("/api/"), "", "/v2/a%20b%25/%C3%A4"),
            ("/v2", "/api", Some("/api"), "", "/v2"),
            ("/one", "/exact", None, "?q=1", "/one?q=1"),
            ("/x", "/a?b#c", Some("/a"), "", "/x%3Fb%23c"),
        ];
        for (uri, path, matched, query, expect) in table {
            let mut out = vec![];
            let matched = matched.map(str::len);
            replaced_target(&mut out, uri, path.as_bytes(), matched, query.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), expect, "{uri} {path}");
        }
    }
}
