//! nginx and HAProxy, set up to do what vipgate does by itself, each before servers of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Folder, PATIENCE, Port, Server, is_installed};

/// The servers behind a proxy: whose name is what.
pub(crate) type Servers = [SocketAddr; 3];

pub(crate) struct Opponent {
    pub(crate) port: Port,
    _server: Server,
}

impl Opponent {
    pub(crate) fn nginx([a, b, c]: Servers) -> Option<Self> {
        let folder = Folder::new();
        let port = Port::new();
        let listen = port.address;
        let text = format!(
            r#"daemon off; master_process off; pid pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off; absolute_redirect off; default_type text/plain;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream a {{ server {a}; keepalive 8; }}
  upstream b {{ server {b}; keepalive 8; }}
  upstream c {{ server {c}; keepalive 8; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
  proxy_set_header Host $http_host;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Real-IP $remote_addr;
  server {{
    listen {listen} reuseport default_server;
    location / {{ proxy_pass http://a; }}
    location = /exact {{ proxy_pass http://b; }}
    location /pre/ {{ proxy_pass http://b; }}
    location /pre/long/ {{ proxy_pass http://c; }}
    location /v/ {{ proxy_pass http://b/v1/; }}
    location /noslash {{ proxy_pass http://b/; }}
    location /deep/er/ {{ proxy_pass http://b/; }}
    location /to/ {{ proxy_pass http://b/at; }}
    location = /one {{ proxy_pass http://b/other/echo; }}
  }}
  server {{ listen {listen}; server_name b.example; location / {{ proxy_pass http://b; }} }}
  server {{ listen {listen}; server_name c.example; location / {{ proxy_pass http://c; }} }}
}}
"#
        );
        fs::write(folder.join("conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder.0).arg("-e").arg("stderr").arg("-c").arg(folder.join("conf"));
        Self::start("nginx", folder, port, &mut command)
    }

    pub(crate) fn haproxy([a, b, c]: Servers) -> Option<Self> {
        let folder = Folder::new();
        let port = Port::new();
        let listen = port.address;
        let text = format!(
            r#"defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 2s
  timeout http-request 10s
  option forwardfor
  http-reuse always
frontend all
  bind {listen}
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Real-IP %[src]
  use_backend b if {{ req.hdr(Host),field(1,:),lower b.example }}
  use_backend c if {{ req.hdr(Host),field(1,:),lower c.example }}
  use_backend b if {{ path /exact }}
  use_backend c if {{ path_beg /pre/long/ }}
  use_backend b if {{ path_beg /pre/ }}
  default_backend a
backend a
  server s {a}
backend b
  server s {b}
backend c
  server s {c}
"#
        );
        fs::write(folder.join("conf"), text).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(folder.join("conf"));
        Self::start("haproxy", folder, port, &mut command)
    }

    /// `None`, with the reason printed: it is not installed.
    fn start(name: &str, folder: Folder, port: Port, command: &mut Command) -> Option<Self> {
        if !is_installed(name) {
            println!("skipped beside {name}, which is not installed");
            return None;
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut server = Server::spawn(folder, command.env("PATH", format!("{path}:/usr/sbin")));
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(port.address).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{name}: {ended:?} {}", server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Self { port, _server: server })
    }
}
