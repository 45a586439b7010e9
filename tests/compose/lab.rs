//! The stacks that checks share: one of a kind at a time, settled before each check.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::shell::{Trouble, finish, run};
use crate::stack::{Kind, Node, Options, PREFIX, Stack, remove, top};

/// Built from this tree when the first check needs it.
pub(crate) const IMAGE: &str = "vipgate:e2e";
pub(crate) const TUTORIAL_IMAGE: &str = "vipgate-tutorial:e2e";

#[derive(Default)]
pub(crate) struct Lab {
    stack: Option<(Options, Stack)>,
}

impl Lab {
    /// Why no check can run here.
    pub(crate) fn missing() -> Option<String> {
        if !nix::unistd::Uid::effective().is_root() {
            return Some("needs root, for a client in a network namespace".to_owned());
        }
        if let Err(e) = run("docker", ["info"]) {
            return Some(format!("needs a Docker engine: {}", e.lines().last().unwrap_or_default()));
        }
        run("ip", ["-V"]).err().map(|_| "needs iproute2".to_owned())
    }

    /// What an earlier run left that could not clean up after itself.
    pub(crate) fn sweep() {
        let Ok(names) =
            run("docker", ["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("name={PREFIX}")])
        else {
            return;
        };
        for name in names.lines() {
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            if let Some(owner) = owner.filter(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
                remove(&format!("{PREFIX}{owner}-"));
            }
        }
    }

    /// The stack of these options with both nodes in the pair and the VIP at the master. The one at hand where it
    /// still is, or becomes, such a stack; else a new one.
    pub(crate) fn settled(&mut self, options: Options) -> Result<&mut Stack, Trouble> {
        let usable = match &self.stack {
            Some((of, stack)) => *of == options && stack.settle(Node::Master).is_ok(),
            None => false,
        };
        if !usable {
            self.tear_down();
            self.build(options.kind)?;
            let stack = Stack::up(options)?;
            let (_, stack) = self.stack.insert((options, stack));
            stack.settle(Node::Master).map_err(|e| format!("the stack does not stand: {e}"))?;
        }
        self.stack.as_mut().map(|(_, stack)| stack).ok_or_else(|| "no stack".to_owned())
    }

    /// What the stack at hand has to say of itself.
    pub(crate) fn last_words(&self) -> String {
        self.stack.as_ref().map_or_else(String::new, |(_, stack)| stack.last_words())
    }

    pub(crate) fn tear_down(&mut self) {
        self.stack = None;
    }

    pub(crate) fn build(&self, kind: Kind) -> Result<(), Trouble> {
        // One at a time: lanes share the folder that an image is packed from.
        static BUILT: Mutex<Vec<Kind>> = Mutex::new(Vec::new());
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if built.contains(&kind) {
            return Ok(());
        }
        match kind {
            Kind::Vipgate => finish(
                Command::new("make").args(["-s", "-C"]).arg(top()).arg("image").env("VIPGATE_IMAGE", IMAGE),
            )?,
            Kind::Tutorial | Kind::Tuned => {
                finish(Command::new(top().join("tests/tutorial/build")).arg(TUTORIAL_IMAGE))?
            }
        };
        built.push(kind);
        Ok(())
    }
}
