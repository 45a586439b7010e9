//! What nginx answers to the same requests for the same files, where it is installed.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use crate::peers::*;
use crate::support::*;

/// A running nginx, ended with the value.
struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    /// `None` where there is none.
    fn start(root: &Folder, own: &Folder) -> Option<Self> {
        Command::new("nginx").arg("-v").stderr(Stdio::null()).status().ok()?;
        // Free a moment ago; whoever takes it in between makes nginx fail, and this test with it.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (own, root) = (own.0.display(), root.0.display());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {own}/{name};\n"))
            .collect();
        let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
        let text = format!(
            "daemon off; master_process off; pid {own}/pid; error_log stderr crit; {user}\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; {temporary} default_type application/octet-stream;\n\
             types {{ text/plain txt; text/html html; }}\n\
             server {{ listen {address}; root {root}; absolute_redirect off; }} }}\n"
        );
        let file = format!("{own}/nginx.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-p", &own.to_string(), "-c", &file, "-e", "stderr"]);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let nginx = Self { child, address };
        let end = std::time::Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(address).is_err() {
            assert!(std::time::Instant::now() < end, "nginx does not listen");
            std::thread::yield_now();
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What has to be the same. The text of error pages, the boundary and the entity tag's letters are each one's own.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    fields: Vec<Option<String>>,
    body: Option<String>,
}

fn seen(address: SocketAddr, method: &str, path: &str, lines: &str) -> Seen {
    let mut client = Client::connect(address);
    let first = client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).response("GET").unwrap();
    let lines = lines.replace("<tag>", first.field("ETag").unwrap_or_default());
    let lines = lines.replace("<date>", first.field("Last-Modified").unwrap_or_default());
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let response = client.send(request).response(method).unwrap();
    let content_type = response.field("Content-Type").unwrap_or_default().to_owned();
    let mut body = String::from_utf8(response.body.clone()).unwrap();
    if let Some((_, boundary)) = content_type.split_once("boundary=") {
        body = body.replace(boundary, "boundary");
    }
    let of_success = |name| response.field(name).filter(|_| response.status < 300).map(str::to_owned);
    let mut fields: Vec<_> =
        ["Content-Range", "Location"].map(|n| response.field(n).map(str::to_owned)).into();
    fields.extend(["Accept-Ranges", "Last-Modified"].map(of_success));
    fields.push(of_success("Content-Type").map(|t| t.split(';').next().unwrap().to_owned()));
    fields.push(Some(format!("tag: {}", response.field("ETag").is_some())));
    Seen { status: response.status, fields, body: (response.status < 300).then_some(body) }
}

/// With what this proxy answers where it differs, and why.
#[test]
fn files_are_served_as_nginx_serves_them() {
    let folder =
        Folder::new("like", &[("ten.txt", "0123456789"), ("sub/index.html", "sub"), ("empty.txt", "")]);
    std::fs::create_dir(folder.0.join("bare")).unwrap();
    let own = Folder::new("nginx", &[("mark", "")]);
    let Some(nginx) = Nginx::start(&folder, &own) else {
        eprintln!("skipped: no nginx");
        return;
    };
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&config(vec![server(address, vec![("/", folder.action())])], vec![]));
    for (method, path, lines) in [
        ("GET", "/ten.txt", ""),
        ("HEAD", "/ten.txt", ""),
        ("GET", "/empty.txt", ""),
        ("GET", "/missing", ""),
        ("GET", "/bare/", ""),
        ("GET", "/sub", ""),
        ("GET", "/sub?q=1", ""),
        ("GET", "/sub/", ""),
        ("GET", "/ten.txt/", ""),
        ("GET", "/ten.txt", "Range: bytes=0-0\r\n"),
        ("GET", "/ten.txt", "Range: bytes=0-\r\n"),
        ("GET", "/ten.txt", "Range: bytes=3-5\r\n"),
        ("GET", "/ten.txt", "Range: bytes=3-99\r\n"),
        ("GET", "/ten.txt", "Range: bytes=-3\r\n"),
        ("GET", "/ten.txt", "Range: bytes=-99\r\n"),
        ("GET", "/ten.txt", "Range: bytes=-0\r\n"),
        ("GET", "/ten.txt", "Range: bytes=10-\r\n"),
        ("GET", "/ten.txt", "Range: bytes=20-30,40-\r\n"),
        ("GET", "/ten.txt", "Range: bytes=0-0,9-9\r\n"),
        ("GET", "/ten.txt", "Range: bytes=9-9,0-1\r\n"),
        ("GET", "/ten.txt", "Range: bytes=0-0, 20-30\r\n"),
        ("GET", "/ten.txt", "Range: bytes=0-1,1-2\r\n"),
        ("GET", "/ten.txt", "Range: bytes=0-9,0-9\r\n"),
        ("GET", "/ten.txt", "Range: bytes=0-5,4-9\r\n"),
        ("GET", "/ten.txt", "Range: BYTES=0-1\r\n"),
        ("GET", "/ten.txt", "Range: lines=0-1\r\n"),
        ("GET", "/ten.txt", "If-None-Match: <tag>\r\n"),
        ("GET", "/ten.txt", "If-None-Match: W/<tag>\r\n"),
        ("GET", "/ten.txt", "If-None-Match: \"x\", <tag>\r\n"),
        ("GET", "/ten.txt", "If-None-Match: *\r\n"),
        ("GET", "/ten.txt", "If-None-Match: \"x\"\r\n"),
        ("HEAD", "/ten.txt", "If-None-Match: <tag>\r\n"),
        ("GET", "/ten.txt", "If-Match: <tag>\r\n"),
        ("GET", "/ten.txt", "If-Match: \"x\"\r\n"),
        ("GET", "/ten.txt", "If-Match: W/<tag>\r\n"),
        ("GET", "/ten.txt", "If-Modified-Since: <date>\r\n"),
        ("GET", "/ten.txt", "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n"),
        ("GET", "/ten.txt", "If-Modified-Since: soon\r\n"),
        ("GET", "/ten.txt", "If-Unmodified-Since: <date>\r\n"),
        ("GET", "/ten.txt", "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n"),
        ("GET", "/ten.txt", "If-None-Match: \"x\"\r\nIf-Modified-Since: <date>\r\n"),
        ("GET", "/ten.txt", "Range: bytes=1-2\r\nIf-Range: <tag>\r\n"),
        ("GET", "/ten.txt", "Range: bytes=1-2\r\nIf-Range: <date>\r\n"),
        ("GET", "/ten.txt", "Range: bytes=1-2\r\nIf-Range: \"x\"\r\n"),
        ("GET", "/ten.txt", "Range: bytes=1-2\r\nIf-Range: W/<tag>\r\n"),
        ("GET", "/ten.txt", "Range: bytes=1-2\r\nIf-Range: Sun, 09 Sep 2001 01:46:40 GMT\r\n"),
        ("GET", "/ten.txt", "Range: bytes=99-\r\nIf-Range: \"x\"\r\n"),
        ("GET", "/ten.txt", "Range: bytes=1-2\r\nIf-None-Match: <tag>\r\n"),
        ("GET", "/empty.txt", "Range: bytes=0-0\r\n"),
        ("POST", "/ten.txt", "Content-Length: 0\r\n"),
        ("DELETE", "/ten.txt", ""),
    ] {
        let (ours, theirs) = (seen(address, method, path, lines), seen(nginx.address, method, path, lines));
        assert_eq!(ours, theirs, "{method} {path} {lines}");
    }
    for (method, path, lines, theirs, ours) in [
        // RFC 9110 section 14.2: ranges are for GET.
        ("HEAD", "/ten.txt", "Range: bytes=0-0\r\n", 206, 200),
        // What cannot be read is ignored.
        ("GET", "/ten.txt", "Range: bytes=2-1\r\n", 416, 200),
        ("GET", "/ten.txt", "Range: bytes=x\r\n", 416, 200),
        // RFC 9110 section 13.1.3: a later date means the same; nginx compares exactly.
        ("GET", "/ten.txt", "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\n", 200, 304),
    ] {
        let statuses =
            (seen(nginx.address, method, path, lines).status, seen(address, method, path, lines).status);
        assert_eq!(statuses, (theirs, ours), "{method} {path} {lines}");
    }
}
