//! Collects what is wrong with a document while it is read, so that everything is said at once.

use super::problem::{Problem, Problems, Severity, Snippet};

/// A file with more mistakes than this is the wrong file; the rest is only counted.
const MAX_PROBLEMS: usize = 100;

/// A piece of the document, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Proof that a problem has been reported: whoever has no value for its caller has this instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reported(());

pub(super) struct Report<'a> {
    name: &'a str,
    text: &'a str,
    /// The byte at which each line starts.
    starts: Vec<usize>,
    problems: Vec<(Span, Problem)>,
    more: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, starts, problems: Vec::new(), more: 0 }
    }

    pub(super) fn error(&mut self, at: Span, what: impl Into<String>, remedy: impl Into<String>) -> Reported {
        self.add(Severity::Error, at, what.into(), remedy.into());
        Reported(())
    }

    pub(super) fn warn(&mut self, at: Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warning, at, what.into(), remedy.into());
    }

    /// Ends the reading: the text stops making sense here, so what was found before may be its consequence.
    pub(super) fn fatal(&mut self, at: Span, what: impl Into<String>, remedy: impl Into<String>) -> Reported {
        self.problems.clear();
        self.more = 0;
        self.error(at, what, remedy)
    }

    /// Whether there is an error among the problems so far.
    pub(super) fn failed(&self) -> bool {
        self.problems.iter().any(|(_, problem)| problem.severity == Severity::Error)
    }

    /// The line that holds the start of `at`, from 1.
    pub(super) fn line(&self, at: Span) -> usize {
        self.starts.partition_point(|start| *start <= at.start)
    }

    /// What is written there.
    pub(super) fn written(&self, at: Span) -> &'a str {
        self.text.get(at.start..at.end).unwrap_or("")
    }

    /// The warnings if there was no error, else everything.
    pub(super) fn finish<T>(self, value: Result<T, Reported>) -> Result<(T, Vec<Problem>), Problems> {
        let failed = self.failed();
        let Self { mut problems, more, .. } = self;
        problems.sort_by_key(|(at, problem)| (at.start, problem.severity == Severity::Warning));
        let list = problems.into_iter().map(|(_, problem)| problem).collect();
        match value {
            Ok(value) if !failed => Ok((value, list)),
            Ok(_) | Err(Reported(())) => Err(Problems { list, more }),
        }
    }

    /// Whether another problem would only be counted: then its words need not be found either.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    fn add(&mut self, severity: Severity, at: Span, what: String, remedy: String) {
        // Warnings must not take the place that the first error needs.
        let first_error = severity == Severity::Error && !self.failed();
        if self.is_full() && !first_error {
            self.more += 1;
            return;
        }
        let line = self.line(at);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let text = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
        let column = self.text.get(start..at.start).map_or(0, |before| before.chars().count());
        let width = self.written(at).lines().next().map_or(1, |first| first.trim_end().chars().count());
        let snippet = Snippet::new(text, column, width);
        let problem =
            Problem { severity, file: self.name.to_owned(), line, column: column + 1, what, remedy, snippet };
        // An alias shows its target's mistakes once for each use.
        if !self.problems.iter().any(|(_, known)| *known == problem) {
            self.problems.push((at, problem));
        }
    }
}
