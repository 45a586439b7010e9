//! `vipgate check`: reads config files as `run` would and says everything that is wrong with them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::environment::Environment;
use super::exit;
use super::output::{count, print};
use crate::config::built_in::NAME;
use crate::config::{Config, Loaded, Problem};
use crate::daemon::config_file::{Refusal, load_built_in, load_file};

const DEFAULT_FILE: &str = "/etc/vipgate/vipgate.yaml";

/// Check config files; exit 0 if all can be used, 78 if not
#[derive(Args)]
pub(super) struct Arguments {
    /// Files or folders [env: VIPGATE_CONFIG] [default: /etc/vipgate/vipgate.yaml]
    files: Vec<PathBuf>,
    /// Print JSON for a program to read
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> ExitCode {
        let variables = |name: &str| environment.variable(name).map(str::to_owned);
        let results = self.results(environment, &variables);
        let code = if results.iter().all(|(_, result)| result.is_ok()) {
            ExitCode::SUCCESS
        } else {
            exit::CONFIG.into()
        };
        let verdicts = results.into_iter().map(|(file, result)| verdict(file, result));
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

impl Arguments {
    /// Of the files that are named, or of what `run` would work by.
    fn results(
        &self,
        environment: &Environment,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<(String, Result<Loaded, Refusal>)> {
        let of = |file: &Path| (file.display().to_string(), load_file(file, variables));
        if !self.files.is_empty() {
            return self.files.iter().map(|file| of(file)).collect();
        }
        if let Some(named) = environment.value("VIPGATE_CONFIG") {
            return vec![of(Path::new(named))];
        }
        let (file, result) = of(Path::new(DEFAULT_FILE));
        let is_missing = matches!(&result, Err(Refusal::Unreadable { is_missing: true, .. }));
        match load_built_in(variables).filter(|_| is_missing) {
            Some(built_in) => vec![(NAME.to_owned(), built_in)],
            None => vec![(file, result)],
        }
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
