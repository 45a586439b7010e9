//! The access log beside the real nginx's: the same bytes to nginx, which logs them, and to what writes this proxy's
//! lines. Without nginx on this machine there is nothing to compare with.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a test starts a process, opens sockets, and fails by panicking"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vipgate::config::AccessLog;
use vipgate::gateway::{COMBINED, Facts, Moment, Outcome, SecondText, Template, access_line};
use vipgate::http1::{Fields, RequestHead};

/// For anything that has to happen: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What two servers can agree on: no times, and no numbers that each counts by itself.
const VARIABLES: &str = "$args|$arg_q|$arg_r|$body_bytes_sent|$bytes_sent|$connection_requests|$cookie_sid|$host|\
     $http_cookie|$http_host|$http_x_forwarded_for|$http_x_a|$is_args|$proxy_add_x_forwarded_for|$proxy_host|\
     $query_string|$remote_addr|$remote_port|$remote_user|$request|$request_length|$request_method|$request_uri|\
     $scheme|$server_addr|$server_name|$server_port|$server_protocol|$status|$upstream_addr|\
     $upstream_response_time|$uri|$upstream_http_x_a";

/// A server that ends when the test does.
struct Nginx {
    folder: PathBuf,
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    fn start() -> Option<Self> {
        if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("vipgate-access-log-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // Free a moment ago; if somebody else takes it meanwhile, nginx says so and ends.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = CONFIGURATION
            .replace("FOLDER", folder.to_str().unwrap())
            .replace("ADDRESS", &address.to_string())
            .replace("COMBINED", COMBINED)
            .replace("VARIABLES", VARIABLES);
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-c"])
            .arg(folder.join("nginx.conf"))
            .env("TZ", "UTC")
            .spawn()
            .unwrap();
        let nginx = Self { folder, child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < PATIENCE, "nginx does not listen");
            std::thread::yield_now();
        }
        Some(nginx)
    }

    /// The `n`th line of a log, from 0, which is written after the answer.
    fn line(&self, log: &str, n: usize) -> String {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(self.folder.join(log)).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(line) = whole.split('\n').nth(n).filter(|line| !line.is_empty()) {
                return line.to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "{log} has no line {n}: {text}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself; a folder that is left behind harms nobody.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const CONFIGURATION: &str = r#"
daemon off;
master_process off;
pid FOLDER/pid;
error_log stderr crit;
events { worker_connections 32; }
http {
    log_format ours 'COMBINED';
    log_format variables 'VARIABLES';
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    large_client_header_buffers 4 8k;
    server {
        listen ADDRESS;
        server_name first.example second.example;
        access_log FOLDER/combined.log ours;
        access_log FOLDER/variables.log variables;
        location / { return 200 "hello\n"; }
        location /empty { return 204; }
        location /none { return 404; }
    }
}
"#;

/// What nginx answered to `request`, and how the connection was addressed.
struct Exchange<'r> {
    request: &'r [u8],
    answer: Vec<u8>,
    client: SocketAddr,
    local: SocketAddr,
}

impl<'r> Exchange<'r> {
    fn new(nginx: &Nginx, request: &'r [u8]) -> Self {
        let mut stream = TcpStream::connect(nginx.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).unwrap();
        Self { request, answer, client: stream.local_addr().unwrap(), local: nginx.address }
    }

    fn line(&self, template: &str) -> String {
        let template = AccessLog::Text(Template::parse(template, Moment::End).unwrap());
        let end = self.answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let status = std::str::from_utf8(&self.answer[9..12]).unwrap().parse().unwrap();
        let head = RequestHead::parse(self.request, Fields::default()).ok();
        let client = self.client.ip().to_string();
        let facts = Facts {
            node: "node",
            server_name: "first.example",
            scheme: "http",
            client: &client,
            client_port: self.client.port(),
            local: self.local,
            connection: 1,
            connection_requests: 1,
            request_id: 0,
            now: Duration::ZERO,
            second: &SecondText::new(0),
            head: self.request,
            request: head.as_ref(),
            upstream: "",
            outcome: Outcome {
                status,
                bytes_sent: self.answer.len() as u64,
                body_bytes_sent: (self.answer.len() - end) as u64,
                // An empty line before the request is not of it.
                request_length: self.request.strip_prefix(b"\r\n").unwrap_or(self.request).len() as u64,
                ..Outcome::default()
            },
        };
        let mut line = vec![];
        access_line(&template, &mut line, &facts);
        String::from_utf8(line).unwrap().strip_suffix('\n').unwrap().to_owned()
    }
}

/// Request; whether this proxy reads it as nginx does.
const REQUESTS: &[(&[u8], bool)] = &[
    (b"GET / HTTP/1.1\r\nHost: WWW.Example.ORG.:81\r\nConnection: close\r\n\r\n", true),
    (
        b"GET /?a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: a\"b\\c\xc3\xa4\x80\t!~\x7e\r\n\
          Referer: http://r/?x=\"\r\nX-A: \r\n\r\n",
        true,
    ),
    (b"GET /%22%5c%c3%a4%0d%7f?%22 HTTP/1.0\r\nUser-Agent:\r\nReferer:  spaces  within  \r\n\r\n", true),
    (b"HEAD /none HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\nUser-Agent: h\r\n\r\n", true),
    (b"GET /empty? HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", true),
    (
        b"GET /a%20b/..//c/./d?Q=1&r=%2f&r=2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 1.1.1.1\r\n\
          x-forwarded-for: 2.2.2.2, 3.3.3.3\r\nCookie: a=1; SID=x y; b\r\ncookie: sid=2\r\n\
          Authorization: Basic YWwgXCI6cHc=\r\nX-A: b\r\n\r\n",
        true,
    ),
    (b"GET /q?rr=1&r&R=&q==&&q=2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: asid=0, sid =  1 ,2;x\r\n\r\n", true),
    (b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic !\r\nCookie: sid\r\n\r\n", true),
    (b"GET http://B.example:80/x?y HTTP/1.1\r\nHost: b.example:80\r\nConnection: close\r\n\r\n", true),
    (b"GET http://b HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n", true),
    (b"\r\nPUT /none HTTP/1.0\r\nAuthorization: basic  Onh5\r\n\r\n", true),
    (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false),
    (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", false),
    (b"\x16\x03\x01\"\\\r\n\r\n", false),
];

#[test]
fn lines_are_those_of_nginx() {
    let Some(nginx) = Nginx::start() else { return };
    let time = regex_lite::Regex::new(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]").unwrap();
    let mut wrong = vec![];
    for (n, (request, agrees)) in REQUESTS.iter().enumerate() {
        let exchange = Exchange::new(&nginx, request);
        let mut compare = |log: &str, template: &str| {
            let theirs = nginx.line(log, n);
            let (theirs, ours) = (time.replace(&theirs, "[]"), exchange.line(template));
            let ours = time.replace(&ours, "[]");
            if theirs != ours {
                wrong.push(format!("{}\nnginx: {theirs}\nours:  {ours}", request.escape_ascii()));
            }
        };
        compare("combined.log", COMBINED);
        if *agrees {
            compare("variables.log", VARIABLES);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}
