//! The codec's work done the slow way, line by line and copy by copy.

use crate::http1::*;

/// The head's lines without their CRLF, the empty ones left out.
pub(crate) fn lines(head: &[u8]) -> Vec<String> {
    // One character for each byte.
    let text: String = head.iter().map(|b| char::from(*b)).collect();
    text.split("\r\n").filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn values(lines: &[String], name: &str) -> Vec<String> {
    let fields = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let named = fields.filter(|(n, _)| n.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim_matches([' ', '\t']).to_owned()).collect()
}

/// `None`: to be refused.
pub(crate) fn request_framing(lines: &[String]) -> Option<Framing> {
    let codings = values(lines, "transfer-encoding");
    let lengths = values(lines, "content-length");
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Some(Framing::None),
        ([], [length]) if length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().ok().map(Framing::Length)
        }
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") && !lines[0].ends_with("1.0") => {
            Some(Framing::Chunked)
        }
        _ => None,
    }
}

pub(crate) fn response_framing(lines: &[String]) -> Option<Framing> {
    let mut lines = lines.to_vec();
    // Where a request line has its version.
    lines[0] = lines[0].split(' ').next()?.to_owned();
    request_framing(&lines).map(|framing| if framing == Framing::None { Framing::Close } else { framing })
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn framing_line(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(n) => line(out, b"Content-Length", n.to_string().as_bytes()),
        Framing::Chunked => line(out, b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::Close => (),
    }
}

/// Fields that go on, of a request or a response, without those named here.
fn end_to_end(out: &mut Vec<u8>, head: &[u8], fields: &Fields, framing: Framing, without: &[&str]) {
    let mut gone: Vec<String> =
        ["connection", "keep-alive", "proxy-connection", "te", "upgrade"].map(String::from).into();
    gone.extend(["transfer-encoding", "content-length"].map(String::from));
    gone.extend(without.iter().map(|name| (*name).to_owned()));
    if framing != Framing::Chunked {
        gone.push("trailer".to_owned());
    }
    let options =
        fields.values(Known::Connection).map(|v| String::from_utf8_lossy(v.of(head)).to_lowercase());
    let options: Vec<String> = options
        .flat_map(|v| v.split(',').map(|o| o.trim_matches([' ', '\t']).to_owned()).collect::<Vec<_>>())
        .collect();
    let names_fields =
        options.iter().any(|o| !matches!(o.as_str(), "" | "close" | "keep-alive" | "upgrade" | "te"));
    if names_fields {
        gone.extend(options);
    }
    for field in fields.iter() {
        let name = String::from_utf8_lossy(field.name.of(head)).to_lowercase();
        if !gone.contains(&name) {
            line(out, field.name.of(head), field.value.of(head));
        }
    }
}

/// As `write_request` does it for the client 192.0.2.1, whose upstream connection is kept.
pub(crate) fn request(head: &[u8], request: &RequestHead) -> Vec<u8> {
    let mut out = vec![];
    out.extend_from_slice(request.method_name.of(head));
    out.push(b' ');
    let target = request.target.path_and_query.of(head);
    let empty: &[u8] = if request.method == Method::Options { b"*" } else { b"/" };
    out.extend_from_slice(if target.is_empty() { empty } else { target });
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = request.host.map_or(&b"d"[..], |h| h.of(head));
    line(&mut out, b"Host", host);
    let own = ["host", "expect", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
    end_to_end(&mut out, head, &request.fields, request.framing, &own);
    let named = request.fields.values(Known::Connection).any(|v| {
        let value = String::from_utf8_lossy(v.of(head)).to_lowercase();
        value.split(',').any(|option| option.trim_matches([' ', '\t']) == "x-forwarded-for")
    });
    let chain =
        request.fields.values(Known::XForwardedFor).map(|v| v.of(head)).filter(|v| !v.is_empty() && !named);
    let chain: Vec<&[u8]> = chain.chain([&b"192.0.2.1"[..]]).collect();
    line(&mut out, b"X-Forwarded-For", &chain.join(&b", "[..]));
    line(&mut out, b"X-Forwarded-Proto", b"http");
    line(&mut out, b"X-Forwarded-Host", host);
    line(&mut out, b"X-Real-IP", b"192.0.2.1");
    framing_line(&mut out, request.framing);
    if request.accepts_trailers {
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

pub(crate) fn response(head: &[u8], response: &ResponseHead, delivery: &Delivery<'_>) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {} ", response.status).into_bytes();
    out.extend_from_slice(response.reason.of(head));
    out.extend_from_slice(b"\r\n");
    end_to_end(&mut out, head, &response.fields, delivery.framing, &[]);
    match response.fields.only(Known::ContentLength) {
        Some(length) if delivery.framing == Framing::None => {
            if !matches!(response.status, 100..=199 | 204) {
                line(&mut out, b"Content-Length", length.of(head));
            }
        }
        _ => framing_line(&mut out, delivery.framing),
    }
    out.extend_from_slice(delivery.add);
    out.extend_from_slice(b"\r\n");
    out
}

/// Body, trailers line by line, and the bytes they took, if a chunked body is whole and keeps to RFC 9112 section 7.1.
pub(crate) fn chunked(bytes: &[u8]) -> Option<(Vec<u8>, Vec<Vec<u8>>, usize)> {
    let (mut body, mut at, mut extensions) = (vec![], 0, 0);
    let next_line = |at: usize| {
        let length = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        Some((bytes[at..at + length].to_vec(), at + length + 2))
    };
    loop {
        let (line, after) = next_line(at)?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, rest) = line.split_at(digits);
        extensions += rest.len();
        if digits == 0 || digits > 15 || !(rest.is_empty() || extension_list(rest)) || extensions > 16 << 10 {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        at = after;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size)?;
        body.extend_from_slice(bytes.get(at..end)?);
        if bytes.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
    let mut trailers = vec![];
    loop {
        let (line, after) = next_line(at)?;
        at = after;
        if line.is_empty() {
            return Some((body, trailers, at));
        }
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|b| token(*b)) || !value.iter().all(|b| text(*b)) {
            return None;
        }
        let value: String = value.iter().map(|b| char::from(*b)).collect();
        let value: Vec<u8> = value.trim_matches([' ', '\t']).chars().map(|c| c as u8).collect();
        let mut whole = vec![];
        self::line(&mut whole, name, &value);
        trailers.push(whole);
    }
}

fn token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn text(b: u8) -> bool {
    b == b'\t' || b == b' ' || b > b' ' && b != 0x7f
}

/// `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, without white space in front of the first semicolon.
fn extension_list(mut rest: &[u8]) -> bool {
    fn skip(mut rest: &[u8]) -> &[u8] {
        while let [b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        rest
    }
    fn name(rest: &[u8]) -> Option<&[u8]> {
        let length = rest.iter().take_while(|b| token(**b)).count();
        (length > 0).then(|| &rest[length..])
    }
    if !rest.starts_with(b";") {
        return false;
    }
    while let [b';', after @ ..] = rest {
        let Some(after) = name(skip(after)) else { return false };
        rest = after;
        if let [b'=', value @ ..] = skip(after) {
            rest = match skip(value) {
                [b'"', quoted @ ..] => {
                    let mut at = 0;
                    loop {
                        match quoted.get(at) {
                            Some(b'"') => break &quoted[at + 1..],
                            Some(b'\\') if quoted.get(at + 1).is_some_and(|b| text(*b)) => at += 2,
                            Some(b) if *b != b'\\' && text(*b) => at += 1,
                            _ => return false,
                        }
                    }
                }
                value => match name(value) {
                    Some(after) => after,
                    None => return false,
                },
            };
        }
        if rest.is_empty() {
            return true;
        }
        rest = skip(rest);
    }
    false
}
