//! What is wrong and lasts: said when it begins and again every ten seconds while it lasts. No clock of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::{info, warn};

const AGAIN_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// By whom it concerns and what it is about.
    standing: BTreeMap<(String, &'static str), Standing>,
}

#[derive(Debug)]
struct Standing {
    text: String,
    again: Instant,
}

impl Warnings {
    /// `Err`: this is wrong, and a person reads the text; `Ok`: it is right, perhaps again.
    pub(super) fn set(&mut self, whose: &str, about: &'static str, state: Result<(), String>, now: Instant) {
        let key = (whose.to_owned(), about);
        match state {
            Err(text) => {
                let standing = self.standing.get(&key);
                if standing.is_none_or(|s| s.text != text) {
                    warn!(instance = whose, "{text}");
                    self.standing.insert(key, Standing { text, again: now + AGAIN_AFTER });
                }
            }
            Ok(()) => {
                if let Some(standing) = self.standing.remove(&key) {
                    info!(instance = whose, "no longer so: {}", standing.text);
                }
            }
        }
    }

    /// All that was said about this one is moot.
    pub(super) fn forget(&mut self, whose: &str) {
        self.standing.retain(|(key, _), _| key != whose);
    }

    pub(super) fn repeat(&mut self, now: Instant) {
        for ((whose, _), standing) in self.standing.iter_mut().filter(|(_, s)| s.again <= now) {
            warn!(instance = whose, "{}", standing.text);
            standing.again = now + AGAIN_AFTER;
        }
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.standing.iter().map(|((whose, _), standing)| format!("{whose}: {}", standing.text)).collect()
    }
}
