//! The end of a run: nothing is wrong any more, and the nodes have to agree.

use crate::clock::MS;
use crate::oracle::Oracle;
use crate::plan::Fault;
use crate::world::World;

impl World {
    /// Ends everything that is wrong.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        self.tell("healed");
        self.healed = true;
        self.lan.heal();
        for node in 0..self.nodes.len() {
            self.thaw(node).map_err(|violation| self.report(&violation))?;
            self.nodes[node].up = true;
            self.nodes[node].eligible = true;
            let fault =
                if self.nodes[node].machine.is_none() { Fault::Restart(node) } else { Fault::Eligible(node) };
            self.apply(fault).map_err(|violation| self.report(&violation))?;
            self.apply(Fault::StandIn(node)).map_err(|violation| self.report(&violation))?;
        }
        Ok(())
    }

    /// After healing: one master within the bound, the right one, it stays, and every client reaches it.
    pub(crate) fn converge(&mut self) -> Result<(), String> {
        self.heal()?;
        self.run_until(self.now + Oracle::convergence_bound(&self.nodes))?;
        let master = Oracle::converged(&self.nodes).map_err(|violation| self.report(&violation))?;
        let takeovers = self.oracle.takeovers;
        let failed: Vec<_> = self.clients.iter().map(|client| client.failed).collect();
        self.run_until(self.now + 1000 * MS)?;
        if self.oracle.takeovers != takeovers {
            return Err(self.report("after healing, mastership does not come to rest"));
        }
        for (client, before) in self.clients.iter().zip(failed) {
            if client.failed > before || client.last_served_by != Some(master) {
                let text = format!("after healing, a client is served by {:?}", client.last_served_by);
                return Err(self.report(&text));
            }
        }
        Ok(())
    }
}
