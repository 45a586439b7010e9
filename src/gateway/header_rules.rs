//! What a configuration says about header fields, made ready: names in lower case, whole lines where nothing in them
//! depends on the request.

use super::facts::Facts;
use super::template::Template;
use crate::config::{Action, Route, Server};

/// Of a route, or of a server for what has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    add: Lines,
    set: Lines,
    own: Vec<(OwnField, Template)>,
    replaced: Vec<String>,
    hidden: Vec<String>,
}

/// A field of a request that this proxy writes by itself where no rule says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnField {
    Host,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    RealIp,
}

const OWN_FIELDS: [(&str, OwnField); 5] = [
    ("host", OwnField::Host),
    ("x-forwarded-for", OwnField::ForwardedFor),
    ("x-forwarded-host", OwnField::ForwardedHost),
    ("x-forwarded-proto", OwnField::ForwardedProto),
    ("x-real-ip", OwnField::RealIp),
];

/// What the rules make of one request. Keep it, and its memory is used again.
#[derive(Clone, Debug, Default)]
pub struct RequestFields {
    text: Vec<u8>,
    /// Where the values of the own fields are.
    own: [Option<(usize, usize)>; OWN_FIELDS.len()],
    /// Where the lines begin.
    lines: usize,
}

impl HeaderRules {
    /// An error only where the configuration breaks its own promises.
    pub fn try_new(server: &Server, route: Option<&Route>) -> Result<Self, String> {
        let mut rules = Self::default();
        let of_route = route.into_iter().flat_map(|route| &route.add_headers);
        for (name, value) in server.add_headers.iter().chain(of_route) {
            rules.add.push(name, value)?;
        }
        let forwarding = route.and_then(|route| match &route.action {
            Action::Proxy(forwarding) => Some(forwarding),
            Action::Files { .. } | Action::Respond { .. } => None,
        });
        let Some(forwarding) = forwarding else { return Ok(rules) };
        for (name, value) in &forwarding.set_headers {
            let name_lower = name.to_ascii_lowercase();
            match OWN_FIELDS.iter().find(|(own, _)| *own == name_lower) {
                Some((_, own)) => {
                    check(name, value)?;
                    rules.own.push((*own, value.clone()));
                }
                None => {
                    rules.set.push(name, value)?;
                    rules.replaced.push(name_lower);
                }
            }
        }
        rules.hidden = forwarding.hide_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(rules)
    }

    /// The lines for every answer, where they are the same for all requests.
    pub fn constant_response_lines(&self) -> Option<&[u8]> {
        self.add.constant()
    }

    /// Appends whole lines for an answer, each with its CRLF. A field whose value is empty is left out (nginx's
    /// `add_header`).
    pub fn response_lines(&self, out: &mut Vec<u8>, facts: &Facts<'_>) {
        self.add.render(out, facts);
    }

    /// Fields of an upstream's response that the client does not get; in lower case.
    pub fn hidden(&self) -> &[String] {
        &self.hidden
    }

    /// Fields of the client's request that are not passed on, because the rules have others in their place or none; in
    /// lower case, without the own ones.
    pub fn replaced(&self) -> &[String] {
        &self.replaced
    }

    /// The request is passed on as it is by default.
    pub fn leaves_requests(&self) -> bool {
        self.replaced.is_empty() && self.own.is_empty()
    }

    /// A field whose value is empty is left out (nginx's `proxy_set_header`).
    pub fn request_fields(&self, fields: &mut RequestFields, facts: &Facts<'_>) {
        let RequestFields { text, own, lines } = fields;
        text.clear();
        *own = Default::default();
        for (field, value) in &self.own {
            let start = text.len();
            value.render(text, facts);
            if let Some(place) = own.get_mut(*field as usize) {
                *place = Some((start, text.len()));
            }
        }
        *lines = text.len();
        self.set.render(text, facts);
    }
}

impl RequestFields {
    /// Whole lines, each with its CRLF.
    pub fn lines(&self) -> &[u8] {
        self.text.get(self.lines..).unwrap_or_default()
    }

    /// `None`: no rule speaks of it. Empty: it is left out.
    pub fn value(&self, field: OwnField) -> Option<&[u8]> {
        let (start, end) = self.own.get(field as usize).copied().flatten()?;
        self.text.get(start..end)
    }
}

/// Lines of which some depend on the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lines(Vec<Line>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    /// One or more, each with its CRLF.
    Whole(Vec<u8>),
    Rendered {
        /// With colon and space.
        name: Vec<u8>,
        value: Template,
    },
}

impl Lines {
    fn push(&mut self, name: &str, value: &Template) -> Result<(), String> {
        check(name, value)?;
        let mut start = name.as_bytes().to_vec();
        start.extend_from_slice(b": ");
        match value.constant() {
            Some("") => (),
            Some(text) => {
                start.extend_from_slice(text.as_bytes());
                start.extend_from_slice(b"\r\n");
                match self.0.last_mut() {
                    Some(Line::Whole(lines)) => lines.extend_from_slice(&start),
                    Some(Line::Rendered { .. }) | None => self.0.push(Line::Whole(start)),
                }
            }
            None => self.0.push(Line::Rendered { name: start, value: value.clone() }),
        }
        Ok(())
    }

    fn constant(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Line::Whole(lines)] => Some(lines),
            _ => None,
        }
    }

    fn render(&self, out: &mut Vec<u8>, facts: &Facts<'_>) {
        for line in &self.0 {
            match line {
                Line::Whole(lines) => out.extend_from_slice(lines),
                Line::Rendered { name, value } => {
                    let before = out.len();
                    out.extend_from_slice(name);
                    let start = out.len();
                    value.render(out, facts);
                    if out.get(start..).unwrap_or_default().iter().all(|b| matches!(b, b' ' | b'\t')) {
                        out.truncate(before);
                    } else {
                        out.extend_from_slice(b"\r\n");
                    }
                }
            }
        }
    }
}

/// A configuration that came from somewhere else than `config::load` could hold what ends a line.
fn check(name: &str, value: &Template) -> Result<(), String> {
    let is_control = |b: u8| b.is_ascii_control() && b != b'\t';
    if name.is_empty() || name.bytes().chain(value.text().bytes()).any(is_control) {
        return Err(format!("the rule for the header {name:?} has a control character, or no name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::example;
    use crate::gateway::Moment;
    use crate::gateway::facts::tests::Exchange;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn pairs(pairs: Pairs<'_>) -> Vec<(String, Template)> {
        let parse = |value: &str| Template::parse(value, Moment::End).unwrap();
        pairs.iter().map(|(name, value)| ((*name).to_owned(), parse(value))).collect()
    }

    fn rules(server: Pairs<'_>, route: Pairs<'_>, set: Pairs<'_>) -> Result<HeaderRules, String> {
        let [mut own_server] = example().servers.try_into().unwrap();
        own_server.add_headers = pairs(server);
        let mut own_route = own_server.routes.remove(0);
        own_route.add_headers = pairs(route);
        let Action::Proxy(forwarding) = &mut own_route.action else { panic!("the example forwards") };
        forwarding.set_headers = pairs(set);
        forwarding.hide_headers = vec!["X-Powered-By".into()];
        HeaderRules::try_new(&own_server, Some(&own_route))
    }

    fn string(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn answers_get_the_lines_of_server_and_route() {
        let table: [(Pairs<'_>, Pairs<'_>, &str, bool); 6] = [
            (&[], &[], "", true),
            (&[("A", "b")], &[("a", "c d")], "A: b\r\na: c d\r\n", true),
            (&[("A", "")], &[], "", true),
            (&[("A", "b")], &[("N", "$hostname")], "A: b\r\nN: node-1\r\n", false),
            (&[("N", "$hostname")], &[("A", "b"), ("C", "d")], "N: node-1\r\nA: b\r\nC: d\r\n", false),
            (&[("N", "$http_none")], &[("A", "$uri"), ("B", "$http_none ")], "A: /%0D%0Ax\r\n", false),
        ];
        let exchange = Exchange::new(b"GET /%0d%0ax HTTP/1.1\r\nHost: a");
        for (server, route, expect, constant) in table {
            let rules = rules(server, route, &[]).unwrap();
            let mut out = vec![];
            rules.response_lines(&mut out, &exchange.facts());
            assert_eq!(string(&out), expect);
            assert_eq!(rules.constant_response_lines(), constant.then_some(expect.as_bytes()));
            assert_eq!(rules.hidden(), ["x-powered-by"]);
            assert!(rules.leaves_requests());
        }
    }

    #[test]
    fn requests_get_what_is_set() {
        let exchange = Exchange::new(b"GET / HTTP/1.1\r\nHost: WWW.a:81\r\nX-B: c");
        let mut fields = RequestFields::default();
        let set = [
            ("X-A", "1"),
            ("Host", "$host"),
            ("Cookie", ""),
            ("X-B", "$http_none"),
            ("X-C", "$http_x_b-$remote_port"),
            ("X-Real-IP", ""),
            ("x-forwarded-for", "$proxy_add_x_forwarded_for"),
        ];
        let own = rules(&[], &[], &set).unwrap();
        assert_eq!(own.replaced(), ["x-a", "cookie", "x-b", "x-c"]);
        assert!(!own.leaves_requests());
        // Twice: nothing of the first request is left in the second.
        for _ in 0..2 {
            own.request_fields(&mut fields, &exchange.facts());
            assert_eq!(string(fields.lines()), "X-A: 1\r\nX-C: c-40000\r\n");
            let table = [
                (OwnField::Host, Some("www.a")),
                (OwnField::RealIp, Some("")),
                (OwnField::ForwardedFor, Some("192.0.2.7")),
                (OwnField::ForwardedHost, None),
                (OwnField::ForwardedProto, None),
            ];
            for (field, expect) in table {
                assert_eq!(fields.value(field).map(string).as_deref(), expect, "{field:?}");
            }
        }
        let constant = rules(&[], &[], &[("X-A", "1"), ("X-B", "")]).unwrap();
        constant.request_fields(&mut fields, &exchange.facts());
        assert_eq!((string(fields.lines()).as_str(), fields.value(OwnField::Host)), ("X-A: 1\r\n", None));
    }

    #[test]
    fn own_fields_have_their_places() {
        for (place, (name, field)) in OWN_FIELDS.iter().enumerate() {
            assert_eq!(*field as usize, place, "{name}");
        }
    }

    #[test]
    fn rules_that_would_end_a_line_are_refused() {
        for (name, value) in [("A", "b\r\nC: d"), ("A\n", "b"), ("", "b"), ("A", "$host\0")] {
            assert!(rules(&[(name, value)], &[], &[]).is_err(), "{name:?} {value:?}");
            assert!(rules(&[], &[], &[(name, value)]).is_err(), "{name:?} {value:?}");
        }
        assert!(rules(&[], &[], &[("Host", "b\r\n")]).is_err());
    }
}
