//! Parts of a file, and the conditions for them.

use std::net::SocketAddr;

use crate::peers::*;
use crate::support::*;

/// No two places of it look alike for long.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| b'a' + (n % 23) as u8).collect()
}

fn site(name: &str) -> (Proxy, SocketAddr, Folder) {
    let folder = Folder::new(name, &[("ten.txt", "0123456789"), ("empty", "")]);
    folder.put("large", content(3 << 20));
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&config(vec![server(address, vec![("/", folder.action())])], vec![]));
    (proxy, address, folder)
}

fn ask(client: &mut Client, method: &str, path: &str, lines: &str) -> Response {
    client
        .send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
        .response(method)
        .unwrap_or_else(|error| panic!("{method} {path} {lines}: {error}"))
}

/// The parts of a multipart/byteranges answer: the value of Content-Range, and the bytes.
fn parts(response: &Response) -> Vec<(String, Vec<u8>)> {
    let content_type = response.field("Content-Type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut rest = &response.body[..];
    let mut parts = vec![];
    loop {
        rest = rest.strip_prefix(format!("\r\n--{boundary}").as_bytes()).unwrap();
        if rest == b"--\r\n" {
            return parts;
        }
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let field = |name| head.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        let (_, range) = (field("Content-Type: "), field("Content-Range: bytes "));
        let (first, last) = range.split_once('/').unwrap().0.split_once('-').unwrap();
        let length = last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1;
        parts.push((range.to_owned(), rest[end..end + length].to_vec()));
        rest = &rest[end + length..];
    }
}

#[test]
fn one_range_is_a_part_of_the_file() {
    let (_proxy, address, _folder) = site("range");
    let mut client = Client::connect(address);
    let whole = ask(&mut client, "GET", "/ten.txt", "");
    let tag = whole.field("ETag").unwrap().to_owned();
    let date = whole.field("Last-Modified").unwrap().to_owned();
    assert_eq!(whole.field("Accept-Ranges"), Some("bytes"));
    let range = "Range: bytes=2-4\r\n";
    let all = "0123456789";
    for (method, lines, status, content_range, body) in [
        ("GET", range.to_owned(), 206, Some("bytes 2-4/10"), "234"),
        ("GET", "Range: bytes=-2\r\n".into(), 206, Some("bytes 8-9/10"), "89"),
        ("GET", "Range: bytes=7-\r\n".into(), 206, Some("bytes 7-9/10"), "789"),
        ("GET", "Range: bytes=0-99\r\n".into(), 206, Some("bytes 0-9/10"), all),
        ("GET", "Range: bytes=10-\r\n".into(), 416, Some("bytes */10"), "416 Range Not Satisfiable"),
        ("GET", "Range: bytes=4-2\r\n".into(), 200, None, all),
        ("GET", "Range: lines=2-4\r\n".into(), 200, None, all),
        ("GET", format!("{range}{range}"), 200, None, all),
        ("HEAD", range.into(), 200, None, ""),
        ("GET", format!("{range}If-Range: {tag}\r\n"), 206, Some("bytes 2-4/10"), "234"),
        ("GET", format!("{range}If-Range: {date}\r\n"), 206, Some("bytes 2-4/10"), "234"),
        ("GET", format!("{range}If-Range: W/{tag}\r\n"), 200, None, all),
        ("GET", format!("{range}If-Range: \"x\"\r\n"), 200, None, all),
        ("GET", format!("{range}If-Range: {tag}\r\nIf-Range: {tag}\r\n"), 200, None, all),
        ("GET", format!("{range}If-Range: Sun, 09 Sep 2001 01:46:40 GMT\r\n"), 200, None, all),
        ("GET", format!("{range}If-None-Match: {tag}\r\n"), 304, None, ""),
        ("GET", format!("{range}If-Match: \"x\"\r\n"), 412, None, "412 Precondition Failed"),
    ] {
        let response = ask(&mut client, method, "/ten.txt", &lines);
        assert_eq!(response.status, status, "{method} {lines}");
        assert_eq!(response.field("Content-Range"), content_range, "{method} {lines}");
        if matches!(status, 200 | 206) {
            assert_eq!(response.text(), body, "{method} {lines}");
            assert_eq!(response.field("Content-Type"), Some("text/plain"), "{method} {lines}");
            assert_eq!(response.field("ETag"), Some(&*tag), "{method} {lines}");
            assert_eq!(response.field("Last-Modified"), Some(&*date), "{method} {lines}");
        } else {
            assert!(response.text().contains(body), "{method} {lines}: {}", response.text());
        }
        assert_eq!(response.field("X-Node"), Some("node-1"), "{method} {lines}");
    }
    assert_eq!(ask(&mut client, "GET", "/empty", "Range: bytes=0-0\r\n").status, 200);
}

#[test]
fn several_ranges_come_in_one_answer() {
    let (_proxy, address, _folder) = site("multipart");
    let mut client = Client::connect(address);
    let large = content(3 << 20);
    for (path, ranges) in [
        ("/ten.txt", vec![(0, 0), (5, 6), (9, 9)]),
        ("/ten.txt", vec![(5, 6), (0, 0)]),
        // Within the first write, over its end, and in the large buffer.
        ("/large", vec![(0, 99), (1_000_000, 1_000_099)]),
        ("/large", vec![(0, 16_383), (20_000, 20_000), (3 << 19, (3 << 20) - 1)]),
        ("/large", (0..16).map(|n| (n * 1000, n * 1000 + 998)).collect()),
    ] {
        let whole = if path == "/large" { &large[..] } else { b"0123456789" };
        let specs: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        let response = ask(&mut client, "GET", path, &format!("Range: bytes={}\r\n", specs.join(", ")));
        assert_eq!((response.status, response.field("Content-Range")), (206, None), "{path} {specs:?}");
        let expect: Vec<_> = ranges
            .iter()
            .map(|(first, last)| (format!("{first}-{last}/{}", whole.len()), whole[*first..=*last].to_vec()))
            .collect();
        assert!(parts(&response) == expect, "{path} {specs:?}");
    }
    let one = ask(&mut client, "GET", "/ten.txt", "Range: bytes=20-,1-1\r\n");
    assert_eq!((one.status, one.field("Content-Range"), one.text()), (206, Some("bytes 1-1/10"), "1"));
    for ranges in ["0-,0-", "0-5,4-9", &vec!["0-0"; 17].join(",")] {
        let response = ask(&mut client, "GET", "/large", &format!("Range: bytes={ranges}\r\n"));
        let whole = ranges.starts_with("0-,") || ranges.len() > 20;
        assert_eq!(response.status, if whole { 200 } else { 206 }, "{ranges}");
        let response = ask(&mut client, "GET", "/ten.txt", &format!("Range: bytes={ranges}\r\n"));
        assert_eq!((response.status, response.text()), (200, "0123456789"), "{ranges}");
    }
}

#[test]
fn a_long_part_arrives_whole() {
    let (_proxy, address, _folder) = site("part");
    let mut client = Client::connect(address);
    let large = content(3 << 20);
    for (first, last) in [(0, 16_383), (1, 16_384), (1, 16_385), (100_000, 2_500_000), (0, (3 << 20) - 1)] {
        let response = ask(&mut client, "GET", "/large", &format!("Range: bytes={first}-{last}\r\n"));
        assert_eq!(response.status, 206, "{first}-{last}");
        assert!(response.body == large[first..=last], "{first}-{last}");
    }
}
