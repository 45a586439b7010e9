//! The links of the world: who writes to whom, when that arrives, and what becomes of it when a process ends.

use crate::clock::MS;
use crate::lan::Frame;
use crate::link::{AGAIN_AFTER, Letter, Message, OPENED_AGAIN_AFTER, REPORTS_EVERY};
use crate::node::address;
use crate::world::{Event, World};

impl World {
    pub(crate) fn write(&mut self, from: usize, to: usize, message: Message) {
        if self.nodes[from].links.enabled && from != to {
            let lives = (self.nodes[from].life, self.nodes[to].life);
            let delay = self.random.between(MS / 20, 2 * MS);
            self.after(delay, Event::Letter(Letter { from, to, lives, message }));
        }
    }

    pub(crate) fn deliver(&mut self, letter: Letter) -> Result<(), String> {
        let Letter { from, to, lives, message } = letter;
        // A connection ends with either process, and what is under way with it; except for the news of that.
        let is_news = matches!(message, Message::Gone);
        // Somebody listens there again.
        let message = if is_news && self.nodes[from].machine.is_some() { Message::Broken } else { message };
        let letter = Letter { message, ..letter };
        let node = &self.nodes[to];
        if node.machine.is_none() || node.life != lives.1 || (self.nodes[from].life != lives.0 && !is_news) {
            return Ok(());
        }
        let probe = Frame::Arp([].into());
        let passes = self.lan.passes(from, to, &probe) && self.nodes[from].up && node.up;
        if !passes && is_news {
            // The reset is lost, and a question is not answered.
            return Ok(());
        }
        if !passes {
            self.after(AGAIN_AFTER, Event::Letter(letter));
            return Ok(());
        }
        if self.nodes[to].frozen.is_some() {
            self.nodes[to].links.waiting.push(letter);
            return Ok(());
        }
        let deed = self.nodes[to].read(letter, address(from), self.now);
        self.done(to, deed)
    }

    pub(crate) fn report_lateness(&mut self, node: usize) {
        self.after(REPORTS_EVERY, Event::Report(node));
        if self.nodes[node].runs() {
            let report = self.nodes[node].report(self.now);
            for peer in self.nodes[node].links.up.clone() {
                self.write(node, peer, report);
            }
        }
    }

    /// The kernel goes on, and closes the connections.
    pub(crate) fn end_process(&mut self, node: usize) {
        if self.nodes[node].machine.is_some() {
            for peer in self.nodes[node].links.up.clone() {
                self.write(node, peer, Message::Gone);
            }
        }
        self.nodes[node].die();
    }

    pub(crate) fn break_link(&mut self, a: usize, b: usize) {
        if !self.nodes[a].links.up.contains(&b) {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            if self.nodes[to].links.up.contains(&from) {
                self.write(from, to, Message::Broken);
            }
        }
        let lives = (self.nodes[a].life, self.nodes[b].life);
        let hello = Message::Hello { answers: false };
        self.after(OPENED_AGAIN_AFTER, Event::Letter(Letter { from: a, to: b, lives, message: hello }));
    }
}
