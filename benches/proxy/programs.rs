//! vipgate and its opponents, each configured for the same work: the same header fields to the origin, connections to
//! it kept and reused, no log or the same one.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client;
use crate::process::{Core, Running, spawn_on};
use crate::request::HOST;

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Vipgate {
        binary: PathBuf,
        name: String,
    },
    /// A vipgate with 1000 routes and 100 virtual hosts, asked for the last of them.
    VipgateOfMany {
        binary: PathBuf,
    },
    Nginx(Variant),
    Haproxy(Variant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As installed, but with connections to the origin kept, which every guide advises.
    Plain,
    /// Buffers that hold 64 KiB.
    Buffers,
    /// Bodies moved by the kernel; HAProxy only.
    Splice,
    /// Accepts a connection when its first bytes are there, as vipgate does.
    Deferred,
}

/// What all programs of a row share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) origin: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) log: bool,
    pub(crate) core: Core,
}

const HOSTS: usize = 100;
const ROUTES: usize = 1000;
/// Idle connections to the origin that are kept: more than any workload needs.
const KEPT: usize = 512;
/// Client connections, with those to the origin.
const CONNECTIONS: usize = 19_000;

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, variant) = match self {
            Self::Vipgate { name, .. } => (name.as_str(), Variant::Plain),
            Self::VipgateOfMany { .. } => ("vipgate of 1000", Variant::Plain),
            Self::Nginx(variant) => ("nginx", *variant),
            Self::Haproxy(variant) => ("haproxy", *variant),
        };
        f.write_str(name)?;
        match variant {
            Variant::Plain => Ok(()),
            Variant::Buffers => f.write_str(" buffers"),
            Variant::Splice => f.write_str(" splice"),
            Variant::Deferred => f.write_str(" deferred"),
        }
    }
}

impl Program {
    /// An opponent's program, if it is installed.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let name = match self {
            Self::Vipgate { .. } | Self::VipgateOfMany { .. } => return None,
            Self::Nginx(_) => "nginx",
            Self::Haproxy(_) => "haproxy",
        };
        installed(name).is_none().then_some(name)
    }

    pub(crate) fn is_vipgate(&self) -> bool {
        matches!(self, Self::Vipgate { .. } | Self::VipgateOfMany { .. })
    }
}

/// Where a program is, among the places where Debian puts them.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

/// A program that serves.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    /// Standard output, and the access log where it goes to a file of its own.
    logs: [PathBuf; 2],
}

impl Served {
    /// The access log of a round is as long as that of any other: the file is emptied, since it lives in memory.
    pub(crate) fn forget_log(&self) -> io::Result<()> {
        for log in &self.logs {
            if log.exists() {
                OpenOptions::new().write(true).open(log)?.set_len(0)?;
            }
        }
        Ok(())
    }
}

/// Starts `program` behind `prefix`, such as valgrind with its arguments, with its files in `folder`, and waits until
/// it serves.
pub(crate) fn start(
    program: &Program,
    setting: &Setting,
    folder: &Path,
    prefix: &[String],
) -> io::Result<Served> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let log = folder.join("access.log");
    let output = folder.join("output");
    let words: Vec<String> = match program {
        Program::Vipgate { binary, .. } | Program::VipgateOfMany { binary } => {
            let many = matches!(program, Program::VipgateOfMany { .. });
            fs::write(folder.join("vipgate.yaml"), vipgate(setting, address, many))?;
            vec![text(binary), "run".into(), "--config".into(), text(folder)]
        }
        Program::Nginx(variant) => {
            let file = folder.join("nginx.conf");
            fs::write(&file, nginx(*variant, setting, address, folder, &log, prefix.is_empty()))?;
            let binary = installed("nginx").ok_or_else(|| io::Error::other("nginx is not installed"))?;
            ["-e", "stderr", "-p", &text(folder), "-c", &text(&file)].iter().fold(vec![text(&binary)], push)
        }
        Program::Haproxy(variant) => {
            let file = folder.join("haproxy.cfg");
            fs::write(&file, haproxy(*variant, setting, address))?;
            let binary = installed("haproxy").ok_or_else(|| io::Error::other("haproxy is not installed"))?;
            ["-db", "-f", &text(&file)].iter().fold(vec![text(&binary)], push)
        }
    };
    let mut words = prefix.iter().cloned().chain(words);
    let mut command = Command::new(words.next().unwrap_or_default());
    // Appended to, so that it can be emptied while it is being written.
    let stdout = File::options().create(true).append(true).open(&output)?;
    command.args(words).stdin(Stdio::null()).stdout(stdout);
    command.stderr(File::create(folder.join("errors"))?);
    command.env("VIPGATE_CONTROL", format!("bench-{}", address.port()));
    let mut running = Running::new(spawn_on(setting.core, &mut command)?);
    client::until_served(address, || running.is_over()).map_err(|error| {
        let errors = fs::read_to_string(folder.join("errors")).unwrap_or_default();
        io::Error::other(format!("{program} does not serve: {error}\n{errors}"))
    })?;
    Ok(Served { running, address, logs: [output, log] })
}

fn push(mut words: Vec<String>, word: &&str) -> Vec<String> {
    words.push((*word).to_owned());
    words
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

pub(crate) fn vipgate(setting: &Setting, address: SocketAddr, many: bool) -> String {
    let Setting { origin, workers, log, .. } = setting;
    let access_log = if *log { "combined" } else { "off" };
    let limits = "keepalive_timeout: 600s\n    keepalive_requests: 1000000000";
    let mut config = format!(
        "node: bench\nworkers: {workers}\nlog: {{level: warn}}\naccess_log: {access_log}\n\
         upstreams:\n  app:\n    servers: [\"{origin}\"]\n    keepalive: {KEPT}\n    \
         keepalive_requests: 1000000000\nservers:\n"
    );
    let mut server = |name: &str, routes: usize| {
        config +=
            &format!("  - listen: [\"{address}\"]\n    server_names: [{name}]\n    {limits}\n    routes:\n");
        config += "      - {path: /, proxy: {upstream: app}}\n";
        for route in 1..routes {
            config += &format!("      - {{path: /area-{route}/, proxy: {{upstream: app}}}}\n");
        }
    };
    if many {
        (0..HOSTS - 1).for_each(|host| server(&format!("host-{host}.example"), 1));
        server(HOST, ROUTES - (HOSTS - 1));
    } else {
        config += &format!("  - listen: [\"{address}\"]\n    routes:\n");
        config += "      - {path: /, proxy: {upstream: app}}\n";
    }
    config
}

fn nginx(
    variant: Variant,
    setting: &Setting,
    address: SocketAddr,
    folder: &Path,
    log: &Path,
    master: bool,
) -> String {
    let folder = folder.display();
    let Setting { origin, workers, .. } = setting;
    let access_log = if setting.log { format!("{} combined", log.display()) } else { "off".to_owned() };
    let master = if master { "on" } else { "off" };
    let reuseport = if *workers > 1 { " reuseport" } else { "" };
    let deferred = if variant == Variant::Deferred { " deferred" } else { "" };
    let buffers = match variant {
        Variant::Buffers => "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;",
        Variant::Plain | Variant::Splice | Variant::Deferred => "",
    };
    format!(
        "daemon off; master_process {master}; worker_processes {workers}; user root;
pid {folder}/pid; error_log stderr warn; worker_rlimit_nofile {CONNECTIONS};
events {{ worker_connections {CONNECTIONS}; }}
http {{
  access_log {access_log};
  keepalive_timeout 600s; keepalive_requests 1000000000;
  client_body_temp_path {folder}/client; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream app {{ server {origin}; keepalive {KEPT}; keepalive_requests 1000000000; }}
  server {{
    listen {address}{deferred}{reuseport};
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; {buffers}
      proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Real-IP $remote_addr;
    }}
  }}
}}
"
    )
}

fn haproxy(variant: Variant, setting: &Setting, address: SocketAddr) -> String {
    let Setting { origin, workers, log, .. } = setting;
    let tuning = match variant {
        Variant::Plain | Variant::Deferred => "",
        Variant::Buffers => "tune.bufsize 69632",
        Variant::Splice => "tune.pipesize 1048576",
    };
    let splice = if variant == Variant::Splice { "option splice-auto" } else { "" };
    let deferred = if variant == Variant::Deferred { " defer-accept" } else { "" };
    let shards = if *workers > 1 { " shards by-thread" } else { "" };
    let (target, format) = if *log {
        // nginx's combined.
        (
            "log stdout format raw local0",
            "log global
  capture request header Referer len 512
  capture request header User-Agent len 512
  log-format '%ci - - [%trl] %{+Q}r %ST %B %{+Q}[capture.req.hdr(0)] %{+Q}[capture.req.hdr(1)]'",
        )
    } else {
        ("", "")
    };
    format!(
        "global
  nbthread {workers}
  {tuning}
  {target}
defaults
  mode http
  http-reuse always
  {splice}
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend in
  bind {address}{deferred}{shards}
  {format}
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Real-IP %[src]
  default_backend app
backend app
  server app {origin}
"
    )
}
