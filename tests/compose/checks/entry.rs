//! A newcomer's first steps: the page, `make up`, `make down`, and what they say when they cannot.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::client::get;
use crate::lab::{IMAGE, Lab};
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, finish, random, run, until};
use crate::stack::{Kind, PREFIX, Stack, free_net, free_port, remove, top};

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn page(stack: &mut Stack) -> Verdict {
    let front = stack.front();
    // The check of the VIP needs one success before the front end forwards.
    let page = until(PATIENCE, Duration::from_millis(100), || {
        let page = get(front, "/", PATIENCE)?;
        if page.status == 200 { Ok(page) } else { Err(format!("status {}", page.status)) }
    })?;
    let node = get(front, "/node", PATIENCE)?;
    let css = get(front, "/assets/page.css", PATIENCE)?;
    let missing = get(front, "/no-such-page", PATIENCE)?;
    let mut wrong = Vec::new();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    demand(page.served_by() == "master", "the page does not name its node in X-Served-By");
    demand(page.body.contains(">master</h1>"), "the page is not the master's");
    demand(page.header("content-type").is_some_and(|t| t.starts_with("text/html")), "the page is no HTML");
    demand(node.status == 200 && node.body.trim() == "master", "/node does not say master");
    demand(
        css.header("content-type").is_some_and(|t| t.starts_with("text/css")),
        "the style sheet is no CSS",
    );
    demand(missing.status == 404, "a page that is not there is not 404");
    Ok(Finding::of(format!("{} bytes from {}", page.body.len(), page.served_by()), wrong))
}

/// `docker run -e VIPGATE_UPSTREAM=..`, without a file, a mount or a capability.
pub(super) fn without_a_file(stack: &mut Stack) -> Verdict {
    let name = format!("{}-bare", stack.name);
    let container = |environment: &[&str]| {
        let fixed = ["run", "--detach", "--read-only", "--cap-drop", "ALL", "--name", &name, "--network"];
        let network = stack.network();
        let arguments = fixed.into_iter().chain([network.as_str()]).chain(environment.iter().copied());
        run("docker", arguments.chain([IMAGE])).map(drop)
    };
    let mut wrong = Vec::new();
    container(&["--env", "VIPGATE_UPSTREAM=master:80"])?;
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address: Ipv4Addr =
        run("docker", ["inspect", "--format", format, &name])?.parse().map_err(|e| format!("{e}"))?;
    let answer = until(PATIENCE, Duration::from_millis(100), || {
        let answer = stack.client.get(SocketAddr::from((address, 80)), "/node", PATIENCE)?;
        if answer.status == 200 { Ok(answer) } else { Err(format!("status {}", answer.status)) }
    })?;
    if answer.body.trim() != "master" {
        wrong.push(format!("it forwards to {:?}", answer.body));
    }
    for command in ["status", "check"] {
        let said = run("docker", ["exec", &name, "/vipgate", command])?;
        if !said.contains("(built in, from the environment)") {
            wrong.push(format!("vipgate {command} does not say what it works by:\n{said}"));
        }
    }
    run("docker", ["exec", &name, "/vipgate", "healthcheck"])?;
    run("docker", ["rm", "--force", &name])?;
    // Without it, and with all that the demo sets, it says what to do instead of holding an address.
    container(&["--env", "VIPGATE_VIP=192.0.2.1", "--env", "VIPGATE_NODE=master"])?;
    let code = run("docker", ["wait", &name])?;
    let mut logs = Command::new("docker");
    let said = logs.args(["logs", &name]).output().map_err(|e| e.to_string())?.stderr;
    let said = String::from_utf8_lossy(&said);
    if code != "78" || !said.contains("VIPGATE_UPSTREAM=app:80") {
        wrong.push(format!("with an address alone it ends with {code}: {said}"));
    }
    run("docker", ["rm", "--force", &name])?;
    Ok(Finding::of(format!("{address} forwards to master; with an address alone exit code 78"), wrong))
}

/// Variables of a stack that disturbs nobody.
struct Surroundings {
    name: String,
    net: String,
    port: u16,
}

impl Surroundings {
    fn draw() -> Result<Self, Trouble> {
        let name = format!("{PREFIX}{}-{:06x}", std::process::id(), random() & 0xff_ffff);
        Ok(Self { name, net: free_net()?, port: free_port()? })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(top())
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("VIPGATE_NAME", &self.name)
            .env("VIPGATE_NET", &self.net)
            .env("VIPGATE_PORT", self.port.to_string())
            .env("VIPGATE_VRID", (1 + random() % 255).to_string())
            .env("VIPGATE_IMAGE", IMAGE);
        command
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

pub(super) fn make_up(lab: &mut Lab) -> Verdict {
    lab.build(Kind::Vipgate)?;
    let here = Surroundings::draw()?;
    let said = finish(here.command("make").arg("up"))?;
    let mut wrong = Vec::new();
    let url = format!("http://localhost:{}", here.port);
    if !said.contains(&url) || !said.contains(&format!("docker pause {}-master", here.name)) {
        wrong.push(format!("make up does not say what to try:\n{said}"));
    }
    let page = get(([127, 0, 0, 1], here.port).into(), "/", PATIENCE)?;
    if page.status != 200 {
        wrong.push(format!("after make up, {url} answers {}", page.status));
    }
    let again = finish(here.command("make").arg("up"));
    wrong.extend(again.err().map(|trouble| format!("a second make up: {trouble}")));
    finish(here.command("make").arg("down"))?;
    let left = run("docker", ["ps", "-aq", "--filter", &format!("name={}", here.name)])?
        + &run("docker", ["network", "ls", "-q", "--filter", &format!("name={}", here.name)])?;
    if !left.is_empty() {
        wrong.push(format!("make down leaves {left}"));
    }
    Ok(Finding::of(format!("{url} answered, nothing left"), wrong))
}

pub(super) fn preflight(_: &mut Lab) -> Verdict {
    let here = Surroundings::draw()?;
    let mut wrong = Vec::new();
    let mut check = |what: &str, environment: &[(&str, &str)], expect: &[&str]| {
        let mut command = here.command("compose/preflight");
        let said = finish(command.arg("true").envs(environment.iter().copied()));
        match (said, expect) {
            (Ok(_), []) => {}
            (Ok(_), _) => wrong.push(format!("{what}: nothing is said")),
            (Err(said), []) => wrong.push(format!("{what}: {said}")),
            (Err(said), words) => {
                let lines = said.lines().filter(|line| line.starts_with("make up: ")).count();
                if lines != 1 || words.iter().any(|word| !said.contains(word)) {
                    wrong.push(format!("{what}: {words:?} is not in {said:?}"));
                }
            }
        }
    };
    check("nothing in the way", &[], &[]);
    check("no engine", &[("DOCKER_HOST", "unix:///nowhere/docker.sock")], &["does not answer", "dockerd"]);
    check("no programs", &[("PATH", "/nowhere")], &["no docker command", "apt-get install"]);
    let old = std::env::temp_dir().join(&here.name);
    let path = old_rust(&old).map_err(|e| e.to_string())?;
    check("old Rust", &[("PATH", &path)], &["1.70.0", "rustup update"]);
    fs::remove_dir_all(&old).map_err(|e| e.to_string())?;
    let taken = TcpListener::bind("0.0.0.0:0").map_err(|e| e.to_string())?;
    let port = taken.local_addr().map_err(|e| e.to_string())?.port().to_string();
    check("port taken", &[("VIPGATE_PORT", &port)], &["VIPGATE_PORT=", &port]);
    let other = format!("{}-other", here.name);
    run("docker", ["network", "create", "--subnet", &format!("{}.64.0/20", here.net), &other])?;
    check("subnet taken", &[], &["VIPGATE_NET=", &other]);
    run("docker", ["network", "rm", &other])?;
    Ok(Finding::of("no engine, old Rust, port taken, subnet taken: one line each".to_owned(), wrong))
}

/// A search path that begins with a `cargo` of long ago.
fn old_rust(folder: &Path) -> std::io::Result<String> {
    let cargo = folder.join("cargo");
    fs::create_dir_all(folder)?;
    fs::write(&cargo, "#!/bin/sh\necho 'cargo 1.70.0 (ec8a8a0ca 2023-04-25)'\n")?;
    fs::set_permissions(&cargo, Permissions::from_mode(0o755))?;
    Ok(format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()))
}
