//! Every variable by example: what nginx would put in its place.

use super::*;
use crate::gateway::{Moment, Template};
use crate::http1::Fields;

/// An exchange to ask, out of the lines of its heads.
pub(crate) struct Exchange {
    head: Vec<u8>,
    request: Option<RequestHead>,
    response_head: Vec<u8>,
    response: Option<ResponseHead>,
    tries: Vec<Try>,
    second: SecondText,
}

impl Exchange {
    pub(crate) fn new(request: &[u8]) -> Self {
        let head = [request, b"\r\n\r\n"].concat();
        let response_head = b"HTTP/1.1 201 Made\r\nX-A: 1\r\nContent-Length: 0\r\nx-a: 2\r\n\r\n".to_vec();
        Self {
            request: RequestHead::parse(&head, Fields::default()).ok(),
            head,
            response: ResponseHead::parse(&response_head, Method::Get, Fields::default()).ok(),
            response_head,
            tries: vec![],
            second: SecondText::new(1_795_939_750),
        }
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            node: "node-1",
            server_name: "first.example",
            scheme: "http",
            client: "192.0.2.7",
            client_port: 40_000,
            local: "198.51.100.4:8080".parse().unwrap(),
            connection: 12,
            connection_requests: 3,
            request_id: 0xabc,
            now: Duration::new(1_795_939_750, 67_999_999),
            second: &self.second,
            head: &self.head,
            request: self.request.as_ref(),
            upstream: "app",
            outcome: Outcome {
                status: 200,
                tries: &self.tries,
                response: self.response.as_ref().map(|r| (self.response_head.as_slice(), r)),
                bytes_sent: 345,
                body_bytes_sent: 45,
                request_length: 99,
                request_time: Duration::from_micros(61_234_567),
            },
        }
    }
}

fn rendered(template: &str, facts: &Facts<'_>) -> String {
    let mut out = vec![];
    Template::parse(template, Moment::End).unwrap().render(&mut out, facts);
    String::from_utf8(out).unwrap()
}

const REQUEST: &str = "GET /a%20b//./c?Q=1&r=%2f HTTP/1.1\r\nHost: WWW.Example.ORG.:81\r\nCookie: a=1\r\n\
     X-Forwarded-For: 1.1.1.1\r\nUser-Agent: curl\r\nAuthorization: Basic YWw6cHc=\r\ncookie: SID=2\r\nEmpty:\r\n\
     x-forwarded-for: 2.2.2.2, 3.3.3.3";

#[test]
fn variables_have_nginx_s_values() {
    let table = [
        ("$args", "Q=1&r=%2f"),
        ("$query_string$is_args", "Q=1&r=%2f?"),
        ("$arg_q $arg_r $arg_s.", "1 %2f ."),
        ("$body_bytes_sent $bytes_sent", "45 345"),
        ("$connection $connection_requests", "12 3"),
        ("$cookie_a $cookie_sid $cookie_b.", "1 2 ."),
        ("$host", "www.example.org"),
        ("$hostname", "node-1"),
        ("$http_host", "WWW.Example.ORG.:81"),
        ("$http_cookie", "a=1; SID=2"),
        ("$http_x_forwarded_for", "1.1.1.1, 2.2.2.2, 3.3.3.3"),
        ("$http_user_agent $http_empty.$http_none.", "curl .."),
        ("$msec", "1795939750.067"),
        ("$proxy_add_x_forwarded_for", "1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7"),
        ("$proxy_host", "app"),
        ("$remote_addr $remote_port", "192.0.2.7 40000"),
        ("$remote_user", "al"),
        ("$request", "GET /a%20b//./c?Q=1&r=%2f HTTP/1.1"),
        ("$request_id", "00000000000000000000000000000abc"),
        ("$request_length $request_time", "99 61.234"),
        ("$request_method $request_uri", "GET /a%20b//./c?Q=1&r=%2f"),
        ("$scheme://$server_name", "http://first.example"),
        ("$server_addr $server_port", "198.51.100.4 8080"),
        ("$server_protocol $status", "HTTP/1.1 200"),
        ("$time_iso8601", "2026-11-29T08:09:10+00:00"),
        ("$time_local", "29/Nov/2026:08:09:10 +0000"),
        ("$upstream_addr$upstream_status$upstream_response_time.", "."),
        ("$upstream_http_x_a|$upstream_http_none", "1, 2|"),
        ("$uri", "/a b/c"),
    ];
    let exchange = Exchange::new(REQUEST.as_bytes());
    for (template, expect) in table {
        assert_eq!(rendered(template, &exchange.facts()), expect, "{template}");
    }
}

#[test]
fn requests_are_told_as_they_came() {
    let table = [
        ("GET / HTTP/1.0", "GET / HTTP/1.0|/|/||first.example|HTTP/1.0"),
        ("\r\nGET /? HTTP/1.1\r\nHost: [::1]:80", "GET /? HTTP/1.1|/|/?||[::1]|HTTP/1.1"),
        ("GET http://B/x?y HTTP/1.1\r\nHost: b", "GET http://B/x?y HTTP/1.1|/x|/x?y|y|b|HTTP/1.1"),
        ("GET http://b HTTP/1.1\r\nHost: b", "GET http://b HTTP/1.1|/|/||b|HTTP/1.1"),
        ("OPTIONS * HTTP/1.1\r\nHost: b", "OPTIONS * HTTP/1.1|*|*||b|HTTP/1.1"),
        ("GET /a%0d%0aX:%00y HTTP/1.1\r\nHost: b", "GET /a%0d%0aX:%00y HTTP/1.1||/a%0d%0aX:%00y||b|HTTP/1.1"),
        (
            "GET /a%0d%0aX:y HTTP/1.1\r\nHost: b",
            "GET /a%0d%0aX:y HTTP/1.1|/a%0D%0AX:y|/a%0d%0aX:y||b|HTTP/1.1",
        ),
        ("GET / HTTP/1.1\r\nHost : b", "GET / HTTP/1.1||||first.example|"),
        ("nonsense", "nonsense||||first.example|"),
    ];
    for (lines, expect) in table {
        let exchange = Exchange::new(lines.as_bytes());
        let got = rendered("$request|$uri|$request_uri|$args|$host|$server_protocol", &exchange.facts());
        assert_eq!(got, expect, "{lines:?}");
    }
}

#[test]
fn every_server_that_was_asked_is_in_the_list() {
    let ms = |n| Some(Duration::from_millis(n));
    let failed = Try {
        address: Some("192.0.2.1:80".parse().unwrap()),
        status: Some(502),
        response_time: ms(0),
        ..Try::default()
    };
    let answered = Try {
        address: Some("[2001:db8::1]:8080".parse().unwrap()),
        status: Some(200),
        connect_time: ms(1),
        header_time: ms(12),
        response_time: ms(1_500),
    };
    let nobody = Try { status: Some(502), response_time: ms(0), ..Try::default() };
    let template = "$upstream_addr|$upstream_status|$upstream_connect_time|$upstream_header_time|\
         $upstream_response_time";
    let table: [(&[Try], &str); 3] = [
        (&[answered], "[2001:db8::1]:8080|200|0.001|0.012|1.500"),
        (&[failed, answered], "192.0.2.1:80, [2001:db8::1]:8080|502, 200|-, 0.001|-, 0.012|0.000, 1.500"),
        (&[nobody, Try::default()], "app, app|502, -|-, -|-, -|0.000, -"),
    ];
    for (tries, expect) in table {
        let mut exchange = Exchange::new(b"GET / HTTP/1.1\r\nHost: a");
        exchange.tries = tries.to_vec();
        assert_eq!(rendered(template, &exchange.facts()), expect);
    }
}

#[test]
fn no_variable_ends_a_line() {
    let exchange = Exchange::new(b"GET /%0d%0a%01 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic DQoKAGE6Yg==");
    for name in crate::gateway::PLAIN_VARIABLES {
        let value = rendered(&format!("${name}"), &exchange.facts());
        assert!(!value.chars().any(char::is_control), "{name}: {value:?}");
    }
    assert_eq!(rendered("$remote_user", &exchange.facts()), "%0D%0A%0A%00a");
}
