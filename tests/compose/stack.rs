//! One running stack: its names and addresses, its nodes, a client beside it. Gone when dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vipgate::link::VrrpReport;
use vipgate::link::control::Status;
use vipgate::net::Cidr;

use crate::client::{Client, get};
use crate::lab::IMAGE;
use crate::probe::Probe;
use crate::shell::{Trouble, finish, random, run, until};

/// Begins the name of everything that these tests make; the process id follows.
pub(crate) const PREFIX: &str = "vge2e";
/// A stack that takes longer than this to stand, or to stand again, does not.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Vipgate,
    /// As the tutorials have it.
    Tutorial,
    /// The same programs, configured by somebody who knows them.
    Tuned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Master,
    Backup,
    Frontend,
}

impl Node {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
            Self::Frontend => "frontend",
        }
    }
}

/// How a stack is brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    pub(crate) preempt: bool,
}

pub(crate) struct Stack {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) vrid: u8,
    pub(crate) port: u16,
    /// `10.77`: the first half of every address.
    pub(crate) net: String,
    /// The nodes' mounted configuration folder, ours to edit.
    pub(crate) config: PathBuf,
    pub(crate) client: Client,
    project: Project,
}

/// What docker-compose has to know each time.
struct Project {
    options: Options,
    name: String,
    net: String,
    port: u16,
    vrid: u8,
    config: PathBuf,
    link: PathBuf,
}

impl Project {
    fn compose(&self, image: &str, arguments: &[&str]) -> Result<String, Trouble> {
        let Self { options, name, net, port, vrid, config, link } = self;
        let file = match options.kind {
            Kind::Vipgate => "compose/compose.yaml",
            Kind::Tutorial | Kind::Tuned => "tests/tutorial/compose.yaml",
        };
        let mut command = compose_command();
        command
            .args(["-p", name, "-f"])
            .arg(top().join(file))
            .args(arguments)
            .env("COMPOSE_PROJECT_NAME", name)
            .env("VIPGATE_NAME", name)
            .env("VIPGATE_NET", net)
            .env("VIPGATE_PORT", port.to_string())
            .env("VIPGATE_VRID", vrid.to_string())
            .env("VIPGATE_IMAGE", image)
            .env("VIPGATE_CONFIG", config)
            .env("VIPGATE_LINK", link)
            .env("VIPGATE_PREEMPT", options.preempt.to_string())
            .env("TUTORIAL_IMAGE", super::lab::TUTORIAL_IMAGE)
            .env("TUTORIAL_ENTRYPOINT", if options.kind == Kind::Tuned { "tuned" } else { "entrypoint" });
        finish(&mut command)
    }
}

impl Stack {
    pub(crate) fn up(options: Options) -> Result<Self, Trouble> {
        let name = format!("{PREFIX}{}-{:06x}", std::process::id(), random() & 0xff_ffff);
        let net = free_net()?;
        let port = free_port()?;
        let vrid = u8::try_from(1 + random() % 255).unwrap_or(1);
        let config = std::env::temp_dir().join(&name);
        copy_folder(&top().join("compose/vipgate"), &config)?;
        let link = config.join("link");
        let key = format!("{:016x}", random()).repeat(4);
        fs::create_dir(&link).and_then(|()| fs::write(link.join("key"), key)).map_err(|e| e.to_string())?;
        let made = Made { name: &name, config: &config };
        let project = Project {
            options,
            name: name.clone(),
            net: net.clone(),
            port,
            vrid,
            config: config.clone(),
            link,
        };
        // With preempt the backup first: the master's bridge port is then the newer one, which is where the tutorial
        // stack fails. Without, whoever is first keeps the VIP.
        let first = if options.preempt { Node::Backup } else { Node::Master };
        project.compose(IMAGE, &["up", "-d", first.name()])?;
        project.compose(IMAGE, &["up", "-d"])?;
        let id = run("docker", ["network", "inspect", "--format", "{{.Id}}", &format!("{name}_vipgate")])?;
        let bridge = format!("br-{}", id.get(..12).unwrap_or_default());
        let address: Ipv4Addr = format!("{net}.129.1").parse().map_err(|e| format!("{net}: {e}"))?;
        let client = Client::attach(&bridge, address, 16)?;
        std::mem::forget(made);
        Ok(Self { kind: options.kind, name, vrid, port, net, config, client, project })
    }

    /// docker-compose for this stack.
    pub(crate) fn compose(&self, arguments: &[&str]) -> Result<String, Trouble> {
        self.compose_with(IMAGE, arguments)
    }

    /// With this image for the nodes.
    pub(crate) fn compose_with(&self, image: &str, arguments: &[&str]) -> Result<String, Trouble> {
        self.project.compose(image, arguments)
    }

    pub(crate) fn container(&self, node: Node) -> String {
        format!("{}-{}", self.name, node.name())
    }

    pub(crate) fn network(&self) -> String {
        format!("{}_vipgate", self.name)
    }

    pub(crate) fn address(&self, node: Node) -> Ipv4Addr {
        let [a, b, ..] = self.vip().octets();
        match node {
            Node::Master => Ipv4Addr::new(a, b, 128, 2),
            Node::Backup => Ipv4Addr::new(a, b, 128, 3),
            // Docker draws it; nobody asks it but through the published port.
            Node::Frontend => Ipv4Addr::UNSPECIFIED,
        }
    }

    pub(crate) fn vip(&self) -> Ipv4Addr {
        format!("{}.128.4", self.net).parse().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    pub(crate) fn front(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(crate) fn docker(&self, verb: &str, node: Node) -> Result<String, Trouble> {
        run("docker", [verb, &self.container(node)])
    }

    pub(crate) fn exec(&self, node: Node, arguments: &[&str]) -> Result<String, Trouble> {
        let container = self.container(node);
        run("docker", [&["exec", container.as_str()], arguments].concat())
    }

    /// What a node of vipgate's says of itself.
    pub(crate) fn status(&self, node: Node) -> Result<Status, Trouble> {
        let status = self.exec(node, &["/vipgate", "status", "--json"])?;
        serde_json::from_str(&status).map_err(|e| format!("status: {e}"))
    }

    /// What its vrrp role says.
    pub(crate) fn vrrp_report(&self, node: Node) -> Result<VrrpReport, Trouble> {
        let report = self.status(node)?.vrrp.and_then(|vrrp| vrrp.report);
        report.map(|(_, report)| report).ok_or_else(|| "no report of the vrrp role".to_owned())
    }

    /// The host's process id of a node's PID 1.
    pub(crate) fn init(&self, node: Node) -> Result<String, Trouble> {
        run("docker", ["inspect", "--format", "{{.State.Pid}}", &self.container(node)])
    }

    /// Host process ids and command lines of a node's processes.
    pub(crate) fn processes(&self, node: Node) -> Result<Vec<(i32, String)>, Trouble> {
        let table = run("docker", ["top", &self.container(node), "-eo", "pid,args"])?;
        let row = |line: &str| {
            let (pid, args) = line.trim().split_once(char::is_whitespace)?;
            Some((pid.parse().ok()?, args.trim().to_owned()))
        };
        Ok(table.lines().skip(1).filter_map(row).collect())
    }

    pub(crate) fn process(&self, node: Node, wanted: &str) -> Result<i32, Trouble> {
        let found = self.processes(node)?;
        let found = found.iter().find(|(_, args)| args.contains(wanted)).map(|(pid, _)| *pid);
        found.ok_or_else(|| format!("no process {wanted:?} in {}", self.container(node)))
    }

    /// A new connection straight to the VIP every 5 ms, 200 ms patience.
    pub(crate) fn probe(&self) -> Result<Probe, Trouble> {
        self.probe_with(&["--rate", "200", "--timeout", "200ms"])
    }

    /// The same with patience for a machine that stands still for a moment, but none for a segment that was lost: the
    /// kernel sends a SYN again after a second. For "nothing fails".
    pub(crate) fn patient_probe(&self) -> Result<Probe, Trouble> {
        self.patient_probe_with_kept(0)
    }

    /// The same, with so many connections that are kept beside it.
    pub(crate) fn patient_probe_with_kept(&self, kept: u64) -> Result<Probe, Trouble> {
        self.probe_with(&["--rate", "200", "--timeout", "900ms", "--persistent", &kept.to_string()])
    }

    pub(crate) fn probe_with(&self, arguments: &[&str]) -> Result<Probe, Trouble> {
        Probe::start(Some(&self.client.namespace), &format!("http://{}/", self.vip()), arguments)
    }

    /// Through the front end, every 20 ms, with a person's patience.
    pub(crate) fn front_probe(&self) -> Result<Probe, Trouble> {
        // Its own checks of the VIP must have passed; haproxy's need 7 s from the start.
        until(SETTLES_WITHIN, Duration::from_millis(100), || {
            match get(self.front(), "/", SETTLES_WITHIN)? {
                answer if answer.status == 200 => Ok(()),
                answer => Err(format!("the front end answers {}", answer.status)),
            }
        })?;
        Probe::start(None, &format!("http://{}/", self.front()), &["--rate", "50", "--timeout", "6s"])
    }

    /// Who answers at the VIP.
    pub(crate) fn holder(&self) -> Result<String, Trouble> {
        self.holder_within(Duration::from_millis(500))
    }

    pub(crate) fn holder_within(&self, patience: Duration) -> Result<String, Trouble> {
        let answer = self.client.get(SocketAddr::from((self.vip(), 80)), "/", patience)?;
        Ok(answer.served_by().to_owned())
    }

    /// Waits until both nodes are in the pair and this one answers at the VIP.
    pub(crate) fn settle(&self, holder: Node) -> Result<(), Trouble> {
        until(SETTLES_WITHIN, Duration::from_millis(100), || {
            let answers = self.holder()?;
            if answers != holder.name() {
                return Err(format!("{answers} answers at the VIP instead of {}", holder.name()));
            }
            for node in [Node::Master, Node::Backup] {
                self.takes_part(node, node == holder)?;
            }
            Ok(())
        })
    }

    fn takes_part(&self, node: Node, holds: bool) -> Result<(), Trouble> {
        match self.kind {
            Kind::Vipgate => {
                let role = if holds { "master" } else { "backup" };
                self.exec(node, &["/vipgate", "healthcheck", "--role", role]).map(drop)
            }
            // It says of itself that it is up whatever is missing; keepalived is what goes missing.
            Kind::Tutorial | Kind::Tuned => self.process(node, "keepalived --dont-fork").map(drop),
        }
    }

    /// The end of what each has to say of itself, for whoever has to find out why. Requests are on the other output.
    pub(crate) fn last_words(&self) -> String {
        const LINES: usize = 16;
        let mut words = String::new();
        for node in [Node::Master, Node::Backup, Node::Frontend] {
            let output = Command::new("docker").args(["logs", &self.container(node)]).output();
            let log =
                output.map_or_else(|e| e.to_string(), |o| String::from_utf8_lossy(&o.stderr).into_owned());
            let lines: Vec<&str> = log.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
                words.push_str(&format!("\n    {:<8} {line}", node.name()));
            }
        }
        words
    }

    /// A node's log of the last `seconds`.
    pub(crate) fn log(&self, node: Node, seconds: u32) -> Result<String, Trouble> {
        let mut command = Command::new("docker");
        command.args(["logs", "--since", &format!("{seconds}s"), &self.container(node)]);
        let output = command.output().map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        drop(Made { name: &self.name, config: &self.config });
    }
}

/// What exists already when the rest of bringing up fails.
struct Made<'a> {
    name: &'a str,
    config: &'a Path,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        remove(self.name);
        // In the folder for temporary files; nothing depends on its going.
        let _ = fs::remove_dir_all(self.config);
    }
}

/// Removes all containers and networks whose names begin so; none is an error.
pub(crate) fn remove(name: &str) {
    let listed = |kind: &[&str]| run("docker", kind).unwrap_or_default();
    let filter = format!("name=^/?{name}");
    // A frozen container cannot be killed.
    for id in listed(&["ps", "-q", "--filter", &filter, "--filter", "status=paused"]).lines() {
        let _ = run("docker", ["unpause", id]);
    }
    let containers = listed(&["ps", "-aq", "--filter", &filter]);
    if !containers.is_empty() {
        let _ = run("docker", ["rm", "--force", "--volumes"].into_iter().chain(containers.lines()));
    }
    for id in listed(&["network", "ls", "-q", "--filter", &format!("name=^{name}")]).lines() {
        let _ = run("docker", ["network", "rm", id]);
    }
}

/// The repository.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `docker compose` or docker-compose, whichever works.
pub(crate) fn compose_command() -> Command {
    if run("docker", ["compose", "version"]).is_ok() {
        let mut command = Command::new("docker");
        command.arg("compose");
        command
    } else {
        Command::new("docker-compose")
    }
}

/// The first half of a /16 in 10.0.0.0/8 that neither Docker nor the host's routes know.
pub(crate) fn free_net() -> Result<String, Trouble> {
    // One may go between the two questions.
    let docker = until(SETTLES_WITHIN, Duration::from_millis(100), || {
        let networks = run("docker", ["network", "ls", "-q"])?;
        let format = "{{range .IPAM.Config}}{{println .Subnet}}{{end}}";
        run("docker", ["network", "inspect", "--format", format].into_iter().chain(networks.lines()))
    })?;
    let routes = run("ip", ["-4", "route", "show"])?;
    let words = docker.lines().chain(routes.lines().filter_map(|line| line.split(' ').next()));
    let taken: Vec<Cidr> = words.filter_map(|word| word.trim().parse().ok()).collect();
    let overlaps = |net: Cidr| taken.iter().any(|t| t.contains(net.address()) || net.contains(t.address()));
    let start = random();
    for n in 0..=255 {
        let second = u8::try_from((start + n) % 256).unwrap_or(0);
        let net = Cidr::try_new([10, second, 0, 0].into(), 16).map_err(|e| e.to_string())?;
        if !overlaps(net) {
            return Ok(format!("10.{second}"));
        }
    }
    Err("every /16 of 10.0.0.0/8 is routed on this host".to_owned())
}

pub(crate) fn free_port() -> Result<u16, Trouble> {
    let listener = TcpListener::bind("0.0.0.0:0").map_err(|e| e.to_string())?;
    listener.local_addr().map(|a| a.port()).map_err(|e| e.to_string())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Trouble> {
    let said = |e: std::io::Error| format!("{}: {e}", from.display());
    fs::create_dir_all(to).map_err(said)?;
    for entry in fs::read_dir(from).map_err(said)? {
        let entry = entry.map_err(said)?;
        fs::copy(entry.path(), to.join(entry.file_name())).map_err(said)?;
    }
    Ok(())
}
