//! What is wrong and lasts: said when it begins and again every ten seconds while it lasts. No clock of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::{info, warn};

const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Another text for what was said already waits for so long: some texts hold what a packet says, and whoever sends
/// packets must not fill the log.
const CHANGED_AT_MOST_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// By whom it concerns and what it is about.
    standing: BTreeMap<(String, &'static str), Standing>,
}

#[derive(Debug)]
struct Standing {
    text: String,
    said: Instant,
    again: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Begins,
    /// With the text that is not so any more.
    Ends(String),
}

impl Warnings {
    /// `Err`: this is wrong, and a person reads the text; `Ok`: it is right, perhaps again.
    pub(super) fn set(&mut self, whose: &str, about: &'static str, state: Result<(), String>, now: Instant) {
        match self.change(whose, about, &state, now) {
            Some(Change::Begins) => warn!(instance = whose, "{}", state.err().unwrap_or_default()),
            Some(Change::Ends(text)) => info!(instance = whose, "no longer so: {text}"),
            None => {}
        }
    }

    fn change(
        &mut self,
        whose: &str,
        about: &'static str,
        state: &Result<(), String>,
        now: Instant,
    ) -> Option<Change> {
        let key = (whose.to_owned(), about);
        let text = match state {
            Ok(()) => return self.standing.remove(&key).map(|standing| Change::Ends(standing.text)),
            Err(text) => text.clone(),
        };
        match self.standing.get_mut(&key) {
            Some(standing) if standing.text == text => None,
            Some(standing) => {
                standing.text = text;
                standing.again = standing.again.min(standing.said + CHANGED_AT_MOST_EVERY);
                None
            }
            None => {
                self.standing.insert(key, Standing { text, said: now, again: now + AGAIN_AFTER });
                Some(Change::Begins)
            }
        }
    }

    /// All that was said about this one is moot.
    pub(super) fn forget(&mut self, whose: &str) {
        self.standing.retain(|(key, _), _| key != whose);
    }

    /// What was said of it goes on under its new name.
    pub(super) fn rename(&mut self, before: &str, after: &str) {
        let moved: Vec<_> = self.standing.extract_if(.., |(whose, _), _| whose == before).collect();
        self.standing.extend(moved.into_iter().map(|((_, about), said)| ((after.to_owned(), about), said)));
    }

    /// To be called often: it says what is due.
    pub(super) fn repeat(&mut self, now: Instant) {
        for (whose, text) in self.due(now) {
            warn!(instance = whose, "{text}");
        }
    }

    fn due(&mut self, now: Instant) -> Vec<(String, String)> {
        let due = self.standing.iter_mut().filter(|(_, standing)| standing.again <= now);
        due.map(|((whose, _), standing)| {
            standing.said = now;
            standing.again = now + AGAIN_AFTER;
            (whose.clone(), standing.text.clone())
        })
        .collect()
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.standing.iter().map(|((whose, _), standing)| format!("{whose}: {}", standing.text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_outlives_a_name() {
        let (start, mut warnings) = (Instant::now(), Warnings::default());
        for whose in ["before", "other"] {
            warnings.set(whose, "relay", Err("connections end".to_owned()), start);
        }
        warnings.rename("before", "after");
        assert_eq!(warnings.texts(), ["after: connections end", "other: connections end"]);
        warnings.set("after", "relay", Ok(()), start);
        assert_eq!(warnings.texts(), ["other: connections end"]);
    }

    #[test]
    fn a_flood_of_texts_is_one_line_a_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut warnings = Warnings::default();
        let mut said = vec![];
        for ms in 0..=2_500 {
            let text = format!("claimed by {ms}");
            if warnings.change("web", "stranger", &Err(text), at(ms)) == Some(Change::Begins) {
                said.push(format!("{ms}: begins"));
            }
            said.extend(warnings.due(at(ms)).into_iter().map(|(_, text)| format!("{ms}: {text}")));
        }
        assert_eq!(said, ["0: begins", "1000: claimed by 1000", "2000: claimed by 2000"]);
        assert_eq!(warnings.texts(), ["web: claimed by 2500"]);
        let last = vec![("web".to_owned(), "claimed by 2500".to_owned())];
        assert_eq!((warnings.due(at(2_999)), warnings.due(at(3_000))), (vec![], last.clone()));
        assert_eq!((warnings.due(at(12_999)), warnings.due(at(13_000))), (vec![], last));
        let over = warnings.change("web", "stranger", &Ok(()), at(13_000));
        assert_eq!(over, Some(Change::Ends("claimed by 2500".to_owned())));
    }
}
