//! Static files and fixed answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::peers::*;
use crate::support::*;

fn site(name: &str) -> (Proxy, std::net::SocketAddr, Folder) {
    let folder = Folder::new(
        name,
        &[
            ("index.html", "<h1>home</h1>"),
            ("a b.txt", "text"),
            ("sub/index.html", "sub"),
            ("bare/x.css", "x"),
        ],
    );
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    let routes = vec![("/", folder.action()), ("/fixed", respond("fixed\n"))];
    proxy.serve(&config(vec![server(address, routes)], vec![]));
    (proxy, address, folder)
}

#[test]
fn what_lies_at_a_path_is_what_a_client_gets() {
    let (_proxy, address, folder) = site("paths");
    symlink("/etc/passwd", folder.0.join("out")).unwrap();
    mkfifo(&folder.0.join("pipe"), Mode::S_IRUSR).unwrap();
    let _socket = UnixListener::bind(folder.0.join("socket")).unwrap();
    let mut client = Client::connect(address);
    for (path, status, content_type, body) in [
        ("/", 200, "text/html", "<h1>home</h1>"),
        ("/index.html", 200, "text/html", "<h1>home</h1>"),
        ("/a%20b.txt?q", 200, "text/plain", "text"),
        ("/sub/", 200, "text/html", "sub"),
        ("//sub/../sub/./", 200, "text/html", "sub"),
        ("/bare/x.css", 200, "text/css", "x"),
        ("/fixed/anything", 200, "text/plain", "fixed\n"),
        ("/sub", 301, "text/html", "301 Moved Permanently"),
        ("/bare/", 403, "text/html", "403 Forbidden"),
        ("/out", 403, "text/html", "403 Forbidden"),
        ("/pipe", 404, "text/html", "404 Not Found"),
        ("/socket", 404, "text/html", "404 Not Found"),
        ("/missing", 404, "text/html", "404 Not Found"),
        ("/missing/", 404, "text/html", "404 Not Found"),
        ("/index.html/", 404, "text/html", "404 Not Found"),
        ("/index.html/x", 404, "text/html", "404 Not Found"),
        ("/../etc/passwd", 400, "text/html", "400 Bad Request"),
        ("/%2e%2e/etc/passwd", 400, "text/html", "400 Bad Request"),
        ("/%00", 400, "text/html", "400 Bad Request"),
        ("/%zz", 400, "text/html", "400 Bad Request"),
    ] {
        // One connection for all of them but the malformed ones, which end it.
        let close = status == 400;
        let response = client.get(path);
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.field("Content-Type"), Some(content_type), "{path}");
        assert_eq!(response.field("X-Node"), Some("node-1"), "{path}");
        assert!(response.text().contains(body), "{path}: {}", response.text());
        assert!(response.field("Date").is_some(), "{path}");
        assert_eq!(response.field("Connection"), close.then_some("close"), "{path}");
        if status >= 300 {
            assert!(response.text().contains("vipgate on node-1"), "{path}");
        }
        if close {
            client = Client::connect(address);
        }
    }
    let response = client.get("/sub?a=b");
    assert_eq!(response.field("Location"), Some("/sub/?a=b"));
}

#[test]
fn head_and_conditions_send_no_body() {
    let (_proxy, address, _folder) = site("conditions");
    let mut client = Client::connect(address);
    let full = client.get("/");
    let etag = full.field("ETag").unwrap().to_owned();
    let modified = full.field("Last-Modified").unwrap().to_owned();
    for (method, lines, status) in [
        ("HEAD", String::new(), 200),
        ("GET", format!("If-None-Match: {etag}\r\n"), 304),
        ("GET", format!("If-None-Match: \"x\"\r\nIf-None-Match: W/{etag}\r\n"), 304),
        ("GET", format!("If-Modified-Since: {modified}\r\n"), 304),
        ("GET", "If-None-Match: \"x\"\r\n".into(), 200),
        ("GET", "If-Match: \"x\"\r\n".into(), 412),
    ] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        let response = client.response(method).unwrap();
        assert_eq!(response.status, status, "{method} {lines}");
        assert_eq!(response.field("X-Node"), Some("node-1"), "{method} {lines}");
        if status != 412 {
            assert_eq!(response.field("ETag"), Some(&*etag), "{method} {lines}");
        }
        let length = (status == 200).then_some("13");
        if status != 412 {
            assert_eq!(response.field("Content-Length"), length, "{method} {lines}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response(method).unwrap();
        assert_eq!((response.status, response.field("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn large_files_arrive_whole_and_an_edit_changes_the_tag() {
    let (_proxy, address, folder) = site("large");
    let mut client = Client::connect(address);
    for length in [16 << 10, (16 << 10) + 1, 100_000, 3 << 20] {
        let content: String = (0..length).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
        folder.put("large", &content);
        let response = client.get("/large");
        assert_eq!(response.field("Content-Type"), Some("application/octet-stream"));
        assert!(response.text() == content, "{length} bytes");
    }
    let before = client.get("/large").field("ETag").unwrap().to_owned();
    fs::write(folder.0.join("large"), "x").unwrap();
    assert_ne!(client.get("/large").field("ETag").unwrap(), before);
}

#[test]
fn a_file_that_is_not_in_memory_arrives_all_the_same() {
    let (_proxy, address, folder) = site("cold");
    let mut client = Client::connect(address);
    for length in [100, 20_000, 3 << 20] {
        let content: String = (0..length).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
        let file = fs::File::open(folder.put("cold", &content)).unwrap();
        // Only what is on the disk can leave the page cache.
        file.sync_all().unwrap();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        assert!(client.get("/cold").text() == content, "{length} bytes");
    }
}
