//! Pipes of one worker, for bodies that are long: their bytes go from socket to socket without being looked at.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};

use super::limits::{PIPE, PIPES_MAX};
use crate::os::pipe::Pipe;

#[derive(Debug, Default)]
pub(super) struct Pipes {
    spare: RefCell<Vec<Pipe>>,
    /// So many lay here unused since the last `trim`.
    unused: Cell<usize>,
    in_use: Cell<usize>,
    useless: Cell<bool>,
}

impl Pipes {
    /// `None`: too many are in use, or there is none to be had.
    pub(super) fn take(&self) -> Option<LentPipe<'_>> {
        if self.useless.get() || self.in_use.get() >= PIPES_MAX {
            return None;
        }
        let mut spare = self.spare.borrow_mut();
        let pipe = spare.pop();
        self.unused.set(self.unused.get().min(spare.len()));
        let pipe = pipe.or_else(|| Pipe::new(PIPE).ok())?;
        self.in_use.set(self.in_use.get() + 1);
        Some(LentPipe { pipe, _count: Count(&self.in_use) })
    }

    /// Takes one back that is empty. One that is dropped instead is closed, with what is in it.
    pub(super) fn give(&self, lent: LentPipe<'_>) {
        self.spare.borrow_mut().push(lent.pipe);
    }

    /// This kernel, or what confines this process, moves nothing through pipes.
    pub(super) fn give_up(&self) {
        self.useless.set(true);
    }

    /// From time to time: what nobody needed since goes back to the system.
    pub(super) fn trim(&self) {
        let mut spare = self.spare.borrow_mut();
        let keep = spare.len().saturating_sub(self.unused.get());
        spare.truncate(keep);
        self.unused.set(spare.len());
    }
}

#[derive(Debug)]
pub(super) struct LentPipe<'a> {
    pipe: Pipe,
    _count: Count<'a>,
}

impl Deref for LentPipe<'_> {
    type Target = Pipe;
    fn deref(&self) -> &Pipe {
        &self.pipe
    }
}

impl DerefMut for LentPipe<'_> {
    fn deref_mut(&mut self) -> &mut Pipe {
        &mut self.pipe
    }
}

/// One of those in use.
#[derive(Debug)]
struct Count<'a>(&'a Cell<usize>);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_few_and_come_back() {
        let pipes = Pipes::default();
        let mut taken: Vec<_> = (0..PIPES_MAX).map(|_| pipes.take().unwrap()).collect();
        assert!(pipes.take().is_none());
        pipes.give(taken.pop().unwrap());
        assert_eq!(pipes.spare.borrow().len(), 1);
        taken.clear();
        assert_eq!((pipes.spare.borrow().len(), pipes.in_use.get()), (1, 0), "a dropped one is closed");
        let spare_after_trim = || {
            pipes.trim();
            pipes.spare.borrow().len()
        };
        assert_eq!(spare_after_trim(), 1);
        pipes.give(pipes.take().unwrap());
        assert_eq!(spare_after_trim(), 1, "needed since the last look");
        assert_eq!(spare_after_trim(), 0);
        pipes.give_up();
        assert!(pipes.take().is_none());
    }
}
