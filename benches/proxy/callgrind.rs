//! User instructions per proxied GET: the difference of two runs under callgrind, so that start and end cancel out. No
//! clock and no other process on the machine changes it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::client::{Crowd, until_served};
use crate::parent;
use crate::programs::{self, Program, Setting, installed};

/// Enough that both runs have filled every pool and grown every buffer.
const FEW: usize = 800;
const MANY: usize = 3_200;
/// As many as ask at once, so that some of the turns of an event loop serve several.
const CONNECTIONS: usize = 8;

/// `None` where valgrind is missing.
pub(crate) fn per_request(program: &Program, setting: &Setting, folder: &Path) -> io::Result<Option<u64>> {
    let Some(valgrind) = installed("valgrind") else { return Ok(None) };
    let valgrind = valgrind.display().to_string();
    let (few, few_cost) = run(program, setting, folder, &valgrind, FEW)?;
    let (many, many_cost) = run(program, setting, folder, &valgrind, MANY)?;
    Ok(many_cost.checked_sub(few_cost).and_then(|cost| cost.checked_div(many - few)))
}

/// Requests, and the instructions of the whole run.
fn run(
    program: &Program,
    setting: &Setting,
    folder: &Path,
    valgrind: &str,
    count: usize,
) -> io::Result<(u64, u64)> {
    let folder = folder.join(count.to_string());
    fs::create_dir_all(&folder)?;
    let profile = folder.join("profile");
    let prefix: Vec<String> = vec![
        valgrind.to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", profile.display()),
        "--quiet".to_owned(),
    ];
    let load = |proxy: SocketAddr| -> io::Result<usize> {
        until_served(proxy, || false)?;
        Crowd::connect(proxy, CONNECTIONS)?.ask(count)
    };
    let asked = match program {
        Program::Vipgate { binary, .. } | Program::VipgateOfMany { binary } => {
            let many = matches!(program, Program::VipgateOfMany { .. });
            let config = |address| programs::vipgate(setting, address, many);
            let role = parent::start(binary, &prefix, setting.core, config)?;
            let asked = load(role.address)?;
            role.hang_up()?;
            asked
        }
        Program::Nginx(_) | Program::Haproxy(_) => {
            let mut served = programs::start(program, setting, &folder, &prefix)?;
            let asked = load(served.address)?;
            served.running.terminate()?;
            asked
        }
    };
    let text = fs::read_to_string(&profile)?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ")).and_then(|n| n.trim().parse().ok());
    let total = total.ok_or_else(|| io::Error::other(format!("no total in {}", profile.display())))?;
    Ok((asked as u64, total))
}
