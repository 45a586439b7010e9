//! `vipgate drill`: two failovers of a running pair, one planned and one by a frozen master, and what a client sees.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::environment::Environment;
use super::exit;
use super::output::print;
use crate::config::{Loaded, parse_duration};
use crate::daemon::config_file::{Refusal, load_built_in, load_file};
use crate::daemon::drill::{self, Task, Unable, Wanted};

const DEFAULT_FILE: &str = "/etc/vipgate/vipgate.yaml";

/// Fail the pair over, as planned and by a freeze, measure both, and bring the address home
///
/// To be run beside the nodes, in their network, with their configuration and the key of their link; the nodes must have
/// `link: {drill: true}`. A request on a new connection every 5 ms and eight kept connections show the gap, what was
/// lost, and whether two nodes answered. Exit 0 if both went as they should, 1 if not, 75 if the pair is not whole, and
/// then nothing has been touched.
#[derive(Args)]
pub(super) struct Arguments {
    /// The virtual router, if there are several
    router: Option<String>,
    /// The nodes' configuration: a file or a folder [env: VIPGATE_CONFIG] [default: /etc/vipgate/vipgate.yaml]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Addresses or names of all nodes, between commas; else `peers` of the configuration
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<String>,
    /// What to ask; else the first virtual address at the first port that is listened on there
    #[arg(long)]
    url: Option<String>,
    /// How long the master stands still, 200ms to 10s
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    freeze: Duration,
    /// How long nobody may answer, in either phase
    #[arg(long, default_value = "500ms", value_parser = parse_duration)]
    max_gap: Duration,
    /// Leave the freeze out
    #[arg(long)]
    planned_only: bool,
    /// Print one JSON object at the end, and nothing else
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> ExitCode {
        let config = match self.load(environment) {
            Ok(loaded) => loaded.config,
            Err(refusal) => {
                eprintln!("{refusal}");
                return exit::CONFIG.into();
            }
        };
        let wanted = Wanted {
            router: self.router,
            nodes: self.nodes,
            url: self.url,
            freeze: (!self.planned_only).then_some(self.freeze),
            max_gap: self.max_gap,
        };
        let task = match Task::try_new(&config, wanted) {
            Ok(task) => task,
            Err(error) => {
                eprintln!("vipgate drill: {error}");
                return exit::USAGE.into();
            }
        };
        let mut say = |after: Duration, what: &str| {
            if !self.json {
                // A reader that has gone changes nothing for the pair.
                print(&format!("{:>6.1} s  {what}\n", after.as_secs_f64()), ExitCode::SUCCESS);
            }
        };
        let report = match drill::run(&task, &mut say) {
            Ok(report) => report,
            Err(Unable::Io(error)) => {
                eprintln!("vipgate drill: {error}");
                return exit::BUG.into();
            }
            Err(unable) => {
                for line in unable.to_string().lines() {
                    eprintln!("vipgate drill: {line}");
                }
                return exit::TEMPORARY.into();
            }
        };
        let code = if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        if !self.json {
            return print(&format!("{report}\n"), code);
        }
        match serde_json::to_string_pretty(&report) {
            Ok(text) => print(&(text + "\n"), code),
            Err(error) => {
                eprintln!("vipgate drill: {error}");
                exit::BUG.into()
            }
        }
    }

    /// As `run` would find it.
    fn load(&self, environment: &Environment) -> Result<Loaded, Refusal> {
        let variables = |name: &str| environment.variable(name).map(str::to_owned);
        let named = self.config.clone().or_else(|| environment.value("VIPGATE_CONFIG").map(PathBuf::from));
        match (named, load_built_in(&variables)) {
            (Some(named), _) => load_file(&named, &variables),
            (None, built_in) => match (load_file(Path::new(DEFAULT_FILE), &variables), built_in) {
                (Err(Refusal::Unreadable { is_missing: true, .. }), Some(built_in)) => built_in,
                (loaded, _) => loaded,
            },
        }
    }
}
