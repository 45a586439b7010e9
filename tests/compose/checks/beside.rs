//! compose/beside-nginx as it stands: two nginx that know nothing of it, each with a vipgate in its network.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::lab::{IMAGE, Lab, TUTORIAL_IMAGE};
use crate::probe::Probe;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, finish, random, run, until};
use crate::stack::{Kind, PREFIX, compose_command, free_net, remove, top};

const NGINX_IMAGE: &str = "vipgate-nginx:e2e";
const SETTLES_WITHIN: Duration = Duration::from_secs(20);
const MOVES_WITHIN: Duration = Duration::from_secs(10);

/// No more than what anybody's nginx would have: it answers, and here it also says which one it is.
const NGINX: &str = "worker_processes 1; pid /run/nginx.pid; error_log stderr; user nobody nogroup; events {} \
                     http { access_log off; server { listen 80; add_header X-Served-By $hostname always; \
                     location / { default_type text/plain; return 200 $hostname; } } }";

struct Beside {
    name: String,
    net: String,
    client: Option<Client>,
}

impl Beside {
    fn compose(&self, arguments: &[&str]) -> Result<String, Trouble> {
        let mut command = compose_command();
        command.args(["-p", &self.name, "-f"]).arg(top().join("compose/beside-nginx/compose.yaml"));
        command.args(arguments);
        command.env("COMPOSE_PROJECT_NAME", &self.name).env("VIPGATE_NET", &self.net);
        command.env("VIPGATE_IMAGE", IMAGE).env("NGINX_IMAGE", NGINX_IMAGE);
        finish(&mut command)
    }

    fn container(&self, service: &str) -> Result<String, Trouble> {
        self.compose(&["ps", "-q", service])
    }

    fn docker(&self, verb: &str, service: &str) -> Result<(), Trouble> {
        run("docker", [verb, &self.container(service)?]).map(drop)
    }

    fn vip(&self) -> Result<Ipv4Addr, Trouble> {
        format!("{}.128.4", self.net).parse().map_err(|e| format!("{e}"))
    }

    /// As nginx calls itself.
    fn host(&self, service: &str) -> Result<String, Trouble> {
        run("docker", ["inspect", "--format", "{{.Config.Hostname}}", &self.container(service)?])
    }

    fn answers(&self, service: &str) -> Result<(), Trouble> {
        let client = self.client.as_ref().ok_or("no client")?;
        let (vip, host) = (SocketAddr::from((self.vip()?, 80)), self.host(service)?);
        until(SETTLES_WITHIN, Duration::from_millis(50), || {
            let answer = client.get(vip, "/", Duration::from_millis(500))?;
            if answer.served_by() == host { Ok(()) } else { Err(format!("{} answers", answer.served_by())) }
        })
    }

    /// nginx-1 has the address, and the other one stands by.
    fn settle(&self) -> Result<(), Trouble> {
        self.answers("nginx-1")?;
        let standby = self.container("vipgate-2")?;
        until(SETTLES_WITHIN, Duration::from_millis(100), || {
            run("docker", ["exec", &standby, "/vipgate", "healthcheck", "--role", "backup"]).map(drop)
        })
    }

    /// What a client sees of it until the other nginx answers, and until the first one does again.
    fn fault(
        &self,
        strike: impl FnOnce() -> Result<(), Trouble>,
        mend: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<String, Trouble> {
        self.settle()?;
        let client = self.client.as_ref().ok_or("no client")?;
        let url = format!("http://{}/", self.vip()?);
        let arguments = ["--rate", "200", "--timeout", "900ms"];
        let mut probe = Probe::start(Some(&client.namespace), &url, &arguments)?;
        let (first, second) = (self.host("nginx-1")?, self.host("nginx-2")?);
        strike()?;
        probe.answered_by(&second, MOVES_WITHIN)?;
        let begun = Instant::now();
        mend()?;
        probe.answered_by(&first, SETTLES_WITHIN)?;
        let back = begun.elapsed();
        let (report, _) = probe.stop()?;
        let stints: Vec<&str> = report.fresh.stints.iter().filter_map(|stint| stint.by.as_deref()).collect();
        let mut nodes = stints.clone();
        nodes.dedup();
        if nodes != [first.as_str(), &second, &first] {
            return Err(format!("answers came from {}", stints.join(", ")));
        }
        Ok(format!(
            "gap {} ms, back after {} ms",
            report.fresh.longest_outage().as_millis(),
            back.as_millis()
        ))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.client = None;
        remove(&self.name);
    }
}

/// This host's nginx as an image, by the folder that the control stack's is made from.
fn build_nginx(lab: &Lab) -> Result<(), Trouble> {
    lab.build(Kind::Tutorial)?;
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--tag", NGINX_IMAGE, "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut build = build.spawn().map_err(|e| e.to_string())?;
    let text = format!(
        "FROM {TUTORIAL_IMAGE}\nRUN [\"/bin/sh\", \"-c\", \"echo '{NGINX}' >/etc/nginx.conf\"]\nSTOPSIGNAL SIGQUIT\n\
         ENTRYPOINT [\"/usr/sbin/nginx\", \"-c\", \"/etc/nginx.conf\", \"-e\", \"stderr\", \"-g\", \"daemon off;\"]\n"
    );
    let written = build.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
    let status = build.wait().map_err(|e| e.to_string())?;
    match (written, status.success()) {
        (Some(Ok(())), true) => Ok(()),
        _ => Err(format!("{NGINX_IMAGE} cannot be built: {status}")),
    }
}

pub(super) fn nginx(lab: &mut Lab) -> Verdict {
    lab.build(Kind::Vipgate)?;
    build_nginx(lab)?;
    let name = format!("{PREFIX}{}-{:06x}", std::process::id(), random() & 0xff_ffff);
    let mut here = Beside { name, net: free_net()?, client: None };
    here.compose(&["up", "-d"])?;
    let id = run("docker", ["network", "inspect", "--format", "{{.Id}}", &format!("{}_front", here.name)])?;
    let bridge = format!("br-{}", id.get(..12).unwrap_or_default());
    let address: Ipv4Addr = format!("{}.129.1", here.net).parse().map_err(|e| format!("{e}"))?;
    here.client = Some(Client::attach(&bridge, address, 16)?);

    let mut figures = Vec::new();
    let mut wrong = Vec::new();
    let mut note = |what: &str, seen: Result<String, Trouble>| match seen {
        Ok(seen) => figures.push(format!("{what}: {seen}")),
        Err(trouble) => wrong.push(format!("{what}: {trouble}")),
    };
    for (what, service, strike, mend) in [
        ("nginx paused", "nginx-1", "pause", "unpause"),
        ("vipgate paused", "vipgate-1", "pause", "unpause"),
        ("vipgate killed", "vipgate-1", "kill", "start"),
        ("vipgate stopped", "vipgate-1", "stop", "start"),
    ] {
        note(what, here.fault(|| here.docker(strike, service), || here.docker(mend, service)));
    }
    // A new network comes with it, which its vipgate has to be shown.
    let mend = || here.docker("start", "nginx-1").and_then(|()| here.docker("restart", "vipgate-1"));
    note("nginx killed", here.fault(|| here.docker("kill", "nginx-1"), mend));
    note("nginx stopped", here.fault(|| here.docker("stop", "nginx-1"), mend));
    Ok(Finding::of(figures.join("; "), wrong))
}
