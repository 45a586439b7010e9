//! Tracked commands: this process may not start a program, the runner does it and says what became of it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::link::{Ended, FromVrrp, Run};
use crate::os::clock;

#[derive(Clone)]
pub(super) struct Commands {
    outbox: mpsc::Sender<FromVrrp>,
    running: Arc<Mutex<Running>>,
}

struct Running {
    /// Of the next one. A predecessor of this process has used lower ones.
    id: u64,
    waiting: HashMap<u64, oneshot::Sender<Ended>>,
}

impl Commands {
    pub(super) fn new(outbox: mpsc::Sender<FromVrrp>) -> Self {
        let running = Running { id: clock::boottime_ns(), waiting: HashMap::new() };
        Self { outbox, running: Arc::new(Mutex::new(running)) }
    }

    /// Nobody may be there to run it, and then it never ends.
    pub(super) async fn run(self, argv: Vec<String>, timeout: Duration) -> io::Result<String> {
        let (tell, told) = oneshot::channel();
        let id = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever has stopped waiting is forgotten.
            running.waiting.retain(|_, tell| !tell.is_closed());
            running.id += 1;
            let id = running.id;
            running.waiting.insert(id, tell);
            id
        };
        let run = FromVrrp::Run(Run { id, argv, env: vec![], timeout });
        self.outbox.send(run).await.map_err(|_| io::Error::other("PID 1 is gone"))?;
        let ended = told.await.map_err(io::Error::other)?;
        let words = match ended.output.as_str() {
            "" => ended.end.to_string(),
            output => format!("{}: {output}", ended.end),
        };
        if ended.end.is_success() { Ok(words) } else { Err(io::Error::other(words)) }
    }

    pub(super) fn handle_ended(&self, ended: Ended) {
        let waiting = self.running.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&ended.id);
        if let Some(tell) = waiting {
            // Its check may be configured no more.
            let _ = tell.send(ended);
        }
    }
}
