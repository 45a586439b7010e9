//! `vipgate check`: reads config files as `run` would and says everything that is wrong with them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::environment::Environment;
use super::exit;
use super::output::print;
use crate::config::{Config, Loaded, Problem};
use crate::daemon::config_file::{Refusal, load_file};

/// Check config files; exit 0 if all can be used, 78 if not
#[derive(Args)]
pub(super) struct Arguments {
    /// Files, or folders with a vipgate.yaml
    #[arg(default_value = "/etc/vipgate/vipgate.yaml")]
    files: Vec<PathBuf>,
    /// Print JSON for a program to read
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> ExitCode {
        let variables = |name: &str| environment.variable(name).map(str::to_owned);
        let results: Vec<_> = self.files.iter().map(|file| (file, load_file(file, &variables))).collect();
        let code = if results.iter().all(|(_, result)| result.is_ok()) {
            ExitCode::SUCCESS
        } else {
            exit::CONFIG.into()
        };
        let verdicts = results.into_iter().map(|(file, result)| verdict(file.display().to_string(), result));
        if self.json {
            let verdicts: Vec<Verdict> = verdicts.collect();
            return match serde_json::to_string_pretty(&verdicts) {
                Ok(text) => print(&(text + "\n"), code),
                Err(error) => {
                    eprintln!("vipgate: {error}");
                    exit::BUG.into()
                }
            };
        }
        print(&verdicts.map(|verdict| verdict.text()).collect::<String>(), code)
    }
}

/// What is said of one file.
#[derive(Serialize)]
struct Verdict {
    file: String,
    ok: bool,
    /// Why the file could not even be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Errors, and warnings.
    problems: Vec<Problem>,
    /// Problems beyond those listed.
    more: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

#[derive(Serialize)]
struct Summary {
    node: String,
    virtual_routers: usize,
    servers: usize,
    upstreams: usize,
}

fn verdict(file: String, result: Result<Loaded, Refusal>) -> Verdict {
    let verdict = Verdict { file, ok: false, error: None, problems: Vec::new(), more: 0, summary: None };
    match result {
        Ok(Loaded { config, warnings }) => {
            Verdict { ok: true, problems: warnings, summary: Some(summary(config)), ..verdict }
        }
        Err(Refusal::Wrong(problems)) => Verdict { problems: problems.list, more: problems.more, ..verdict },
        Err(refusal @ Refusal::Unreadable { .. }) => Verdict { error: Some(refusal.to_string()), ..verdict },
    }
}

fn summary(config: Config) -> Summary {
    let Config { node, vrrp, servers, upstreams, .. } = config;
    Summary { node, virtual_routers: vrrp.len(), servers: servers.len(), upstreams: upstreams.len() }
}

impl Verdict {
    fn text(&self) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&format!("{problem}\n\n"));
        }
        if self.more > 0 {
            text.push_str(&format!("and {} more\n", self.more));
        }
        if let Some(error) = &self.error {
            text.push_str(&format!("{error}\n"));
        }
        if let Some(Summary { node, virtual_routers, servers, upstreams }) = &self.summary {
            let parts = [
                count(*virtual_routers, "virtual router"),
                count(*servers, "server"),
                count(*upstreams, "upstream"),
            ];
            text.push_str(&format!("ok: {} for node {node} in {}\n", parts.join(", "), self.file));
        }
        text
    }
}

fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
