//! One row: every program started, then asked in turn, round by round, so that whatever else the machine does falls on
//! all of them alike.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Pid;

use crate::arguments::Arguments;
use crate::callgrind;
use crate::client::Crowd;
use crate::origin::Origin;
use crate::process::{Core, Memory, bind};
use crate::programs::{self, Program, Served, Setting};
use crate::rows::{self, Measure, Row};
use crate::syscalls;
use crate::wrk::{self, Workload};

const PROXY: Core = Core::Only(0);
const LOAD: Core = Core::Only(1);
/// Before the first round: pools filled, buffers grown.
const WARM_UP_SECONDS: u32 = 1;
/// Under strace.
const TRACED_SECONDS: u32 = 1;

/// What was found out about one program.
pub(crate) struct Column {
    pub(crate) program: Program,
    /// What is compared, one value a round: CPU seconds per request, bytes, or instructions.
    pub(crate) values: Vec<f64>,
    pub(crate) p50: Vec<Duration>,
    pub(crate) p99: Vec<Duration>,
    pub(crate) memory: Memory,
    pub(crate) syscalls: Option<f64>,
}

impl Column {
    fn new(program: Program) -> Self {
        let memory = Memory::default();
        Self { program, values: vec![], p50: vec![], p99: vec![], memory, syscalls: None }
    }
}

pub(crate) struct Bench<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) origin: &'a Origin,
    pub(crate) binary: PathBuf,
    /// In memory, since the access logs go there.
    pub(crate) folder: PathBuf,
}

impl Bench<'_> {
    /// vipgate's column first. `Err`: what could not be measured, and why.
    pub(crate) fn row(&self, row: &Row) -> io::Result<Vec<Column>> {
        match row.measure {
            Measure::Cost { workload, against, workers, log } => {
                let programs = rows::programs(&self.binary, &self.arguments.beside, against);
                self.cost(row.name, programs, &workload, workers, log)
            }
            Measure::Idle { connections, against } => {
                let programs = rows::programs(&self.binary, &self.arguments.beside, against);
                programs.into_iter().map(|program| self.idle(program, connections)).collect()
            }
            Measure::Instructions { against } => {
                let programs = rows::programs(&self.binary, &self.arguments.beside, against);
                programs.into_iter().map(|program| self.instructions(program)).collect()
            }
        }
    }

    fn setting(&self, workers: usize, log: bool, core: Core) -> Setting {
        Setting { origin: self.origin.address, workers, log, core }
    }

    fn place(&self, program: &Program) -> PathBuf {
        self.folder.join(program.to_string().replace(' ', "-"))
    }

    fn cost(
        &self,
        row: &str,
        programs: Vec<Program>,
        workload: &Workload,
        workers: usize,
        log: bool,
    ) -> io::Result<Vec<Column>> {
        let (proxy, load) = if workers == 1 { (PROXY, LOAD) } else { (Core::Any, Core::Any) };
        bind(self.origin.thread, load)?;
        let setting = self.setting(workers, log, proxy);
        let mut served = vec![];
        for program in &programs {
            let missing = program.missing().map(|name| io::Error::other(format!("{name} is not installed")));
            missing.map_or(Ok(()), Err)?;
            let folder = self.place(program).join(row);
            let one = programs::start(program, &setting, &folder, &[])?;
            let warm = wrk::run(workload, one.address, WARM_UP_SECONDS, load, &self.folder);
            warm.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
            served.push(one);
        }
        let mut columns: Vec<Column> = programs.into_iter().map(Column::new).collect();
        for round in 0..self.arguments.rounds {
            // Whoever comes first profits or suffers from that as often as the others.
            let order = (0..columns.len()).map(|n| (n + round) % columns.len());
            for n in order.collect::<Vec<_>>() {
                let (Some(column), Some(one)) = (columns.get_mut(n), served.get(n)) else { continue };
                let before = one.running.cpu();
                let seen = wrk::run(workload, one.address, self.arguments.seconds, load, &self.folder);
                let seen = seen.map_err(|error| io::Error::other(format!("{}: {error}", column.program)))?;
                let cpu = one.running.cpu().saturating_sub(before);
                column.values.push(cpu.as_secs_f64() / seen.requests as f64);
                column.p50.push(seen.p50);
                column.p99.push(seen.p99);
                one.forget_log()?;
            }
        }
        for (column, one) in columns.iter_mut().zip(&served) {
            column.memory = one.running.memory();
            if self.arguments.syscalls {
                let calls = self.traced(one, workload, load);
                column.syscalls =
                    calls.map_err(|error| io::Error::other(format!("{}: {error}", column.program)))?;
            }
        }
        Ok(columns)
    }

    fn traced(&self, one: &Served, workload: &Workload, core: Core) -> io::Result<Option<f64>> {
        let load = || wrk::run(workload, one.address, TRACED_SECONDS, core, &self.folder);
        let counted = syscalls::during(&one.running, core, &self.folder, load)?;
        Ok(counted.map(|(calls, load)| calls as f64 / load.requests as f64))
    }

    fn idle(&self, program: Program, connections: usize) -> io::Result<Column> {
        bind(self.origin.thread, LOAD)?;
        let folder = self.place(&program).join("idle");
        let served = programs::start(&program, &self.setting(1, false, PROXY), &folder, &[])?;
        bind(Pid::from_raw(0), LOAD)?;
        let crowd = Crowd::gather(served.address, connections);
        let crowd = crowd.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
        let mut column = Column::new(program);
        column.memory = served.running.memory();
        column.values.push(column.memory.resident as f64);
        drop(crowd);
        bind(Pid::from_raw(0), Core::Any)?;
        Ok(column)
    }

    fn instructions(&self, program: Program) -> io::Result<Column> {
        bind(self.origin.thread, Core::Any)?;
        let folder = self.place(&program).join("callgrind");
        let count = callgrind::per_request(&program, &self.setting(1, false, Core::Any), &folder)?;
        let count = count.ok_or_else(|| io::Error::other("valgrind is not installed"))?;
        let mut column = Column::new(program);
        column.values.push(count as f64);
        Ok(column)
    }
}
