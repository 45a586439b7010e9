//! Lines of the access log.

use super::*;
use crate::gateway::facts::tests::Exchange;
use crate::gateway::{COMBINED, Moment};

fn line(format: &AccessLog, exchange: &Exchange) -> String {
    let mut out = b"before\n".to_vec();
    access_line(format, &mut out, &exchange.facts());
    String::from_utf8(out).unwrap().strip_prefix("before\n").unwrap().to_owned()
}

fn text(template: &str) -> AccessLog {
    AccessLog::Text(Template::parse(template, Moment::End).unwrap())
}

#[test]
fn combined_is_nginx_s() {
    let table: [(&[u8], &str); 4] = [
        (
            b"GET /a?b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\"\\\xc3\xa4\ty\r\nReferer: http://r/",
            r#"192.0.2.7 - - [29/Nov/2026:08:09:10 +0000] "GET /a?b HTTP/1.1" 200 45 "http://r/" "x\x22\x5C\xC3\xA4\x09y""#,
        ),
        (
            b"GET / HTTP/1.0\r\nAuthorization: Basic YWw6cHc=\r\nUser-Agent:",
            r#"192.0.2.7 - al [29/Nov/2026:08:09:10 +0000] "GET / HTTP/1.0" 200 45 "-" """#,
        ),
        (b"\x16\x03\x01", r#"192.0.2.7 - - [29/Nov/2026:08:09:10 +0000] "\x16\x03\x01" 200 45 "-" "-""#),
        (b"", r#"192.0.2.7 - - [29/Nov/2026:08:09:10 +0000] "" 200 45 "-" "-""#),
    ];
    for (request, expect) in table {
        assert_eq!(line(&text(COMBINED), &Exchange::new(request)), format!("{expect}\n"));
    }
    assert_eq!(line(&AccessLog::Off, &Exchange::new(b"GET / HTTP/1.0")), "");
}

#[test]
fn own_formats_are_one_line_of_bounded_length() {
    let exchange = Exchange::new(&[b"GET / HTTP/1.0\r\nA: ".as_slice(), &[b'"'; 9_000]].concat());
    assert_eq!(line(&text("$arg_a \"$http_b\" $server_protocol"), &exchange), "- \"-\" HTTP/1.0\n");
    let long = line(&text("$http_a$http_a$http_a$http_a"), &exchange);
    assert_eq!(long.len(), RENDERED_MAX + 1);
    assert!(long.starts_with("\\x22\\x22"), "{long}");
}

#[test]
fn json_has_the_same_members_always() {
    let full = Exchange::new(
        b"POST /a\"b HTTP/1.1\r\nHost: A:80\r\nReferer: r\r\nUser-Agent: \"\xff\xc3\xa4\r\nX-Forwarded-For: 1.1.1.1",
    );
    let broken = Exchange::new(b"\x16\x03\x01\0");
    let table = [
        (
            &full,
            serde_json::json!({
                "time": "2026-11-29T08:09:10.067Z", "remote_addr": "192.0.2.7", "host": "a", "method": "POST",
                "uri": "/a\"b", "protocol": "HTTP/1.1", "status": 200, "body_bytes_sent": 45,
                "request_time": 61.234, "request_id": "00000000000000000000000000000abc", "upstream_addr": null,
                "upstream_status": null, "upstream_response_time": null, "referer": "r",
                "user_agent": "\"\u{fffd}\u{e4}", "x_forwarded_for": "1.1.1.1", "node": "node-1",
            }),
        ),
        (
            &broken,
            serde_json::json!({
                "time": "2026-11-29T08:09:10.067Z", "remote_addr": "192.0.2.7", "host": "first.example",
                "method": null, "uri": null, "protocol": null, "status": 200, "body_bytes_sent": 45,
                "request_time": 61.234, "request_id": "00000000000000000000000000000abc", "upstream_addr": null,
                "upstream_status": null, "upstream_response_time": null, "referer": null,
                "user_agent": null, "x_forwarded_for": null, "node": "node-1",
            }),
        ),
    ];
    for (exchange, expect) in table {
        let got = line(&AccessLog::Json, exchange);
        assert!(got.ends_with("}\n") && got.matches('\n').count() == 1, "{got}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&got).unwrap(), expect);
    }
    let mut facts = full.facts();
    facts.outcome.status = 0;
    let mut out = vec![];
    access_line(&AccessLog::Json, &mut out, &facts);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap()["status"], 0);
}
