//! `${VAR:-default}` inside a scalar, with the syntax and the meaning of Docker Compose. Runs on scalars that the YAML
//! parser has already cut out, so that a value can never change the document's structure. The environment is handed in.
//!
//! One difference: where Compose warns about a variable that is not set, this refuses.

use std::ops::Range;

use crate::gateway::{Moment, Template};

/// In one text; who made more mistakes than this sees them when these are gone.
const MAX_FAULTS: usize = 10;
/// Nested defaults, `${A:-${B:-${C}}}`.
const MAX_NESTING: usize = 8;

pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Something wrong within the text, at these bytes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: Range<usize>,
    pub(super) what: String,
    pub(super) remedy: String,
}

/// At least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) first: Fault,
    pub(super) others: Vec<Fault>,
}

/// The text with every expression replaced, and whether there was one.
pub(super) fn interpolate(text: &str, environment: Environment<'_>) -> Result<(String, bool), Faults> {
    if !text.contains('$') {
        return Ok((text.to_owned(), false));
    }
    let mut parser = Parser { text, position: 0, faults: Vec::new() };
    let parts = parser.template(0);
    let mut faults = parser.faults;
    let mut output = String::new();
    // A text that is not understood is not evaluated either: its faults would be guesses.
    if faults.is_empty() {
        evaluate(&parts, environment, &mut output, &mut faults);
    }
    let mut faults = faults.into_iter();
    match faults.next() {
        None => Ok((output, true)),
        Some(first) => Err(Faults { first, others: faults.collect() }),
    }
}

enum Part {
    Literal(String),
    Variable { name: String, operation: Operation, at: Range<usize> },
}

enum Operation {
    Plain,
    /// `-`, `?` or `+`; `:` before it lets an empty value count as not set.
    Default {
        or_empty: bool,
        parts: Vec<Part>,
    },
    Demand {
        or_empty: bool,
        parts: Vec<Part>,
    },
    Alternative {
        or_empty: bool,
        parts: Vec<Part>,
    },
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    faults: Vec<Fault>,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.position..).unwrap_or("")
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.position += c.len_utf8();
        Some(c)
    }

    /// Reads to the end, or, inside of braces, to the one that closes them.
    fn template(&mut self, nesting: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        loop {
            let start = self.position;
            if nesting > 0 && self.rest().starts_with('}') {
                break;
            }
            match self.next() {
                None => break,
                Some('$') if self.rest().starts_with('$') => {
                    self.position += 1;
                    literal.push('$');
                }
                Some('$') => {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                    parts.extend(self.variable(start, nesting));
                }
                Some(c) => literal.push(c),
            }
        }
        parts.push(Part::Literal(literal));
        parts
    }

    /// After a `$` at `start`.
    fn variable(&mut self, start: usize, nesting: usize) -> Option<Part> {
        let braced = self.rest().starts_with('{');
        if braced {
            self.position += 1;
        }
        let name = self.name();
        if name.is_empty() {
            return self.fault(
                start,
                "\"$\" is not followed by a variable's name",
                "write $$ for a dollar sign",
            );
        }
        if !braced {
            return Some(Part::Variable { name, operation: Operation::Plain, at: start..self.position });
        }
        if nesting >= MAX_NESTING {
            return self.fault(start, "defaults are nested too deeply", "write at most eight of them");
        }
        let operation = self.operation(start, nesting)?;
        if self.next() != Some('}') {
            return self.fault(
                start,
                "\"${\" is never closed",
                "write ${NAME} or ${NAME:-default}, and $$ for a dollar sign",
            );
        }
        Some(Part::Variable { name, operation, at: start..self.position })
    }

    fn operation(&mut self, start: usize, nesting: usize) -> Option<Operation> {
        if self.rest().is_empty() || self.rest().starts_with('}') {
            return Some(Operation::Plain);
        }
        let or_empty = self.rest().starts_with(':');
        if or_empty {
            self.position += 1;
        }
        let sign = self.next();
        let parts = match sign {
            Some('-' | '?' | '+') => self.template(nesting + 1),
            _ => {
                self.position = self.text.len();
                return self.fault(
                    start,
                    "this is not an expression that Docker Compose knows",
                    "write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${NAME:+other}",
                );
            }
        };
        Some(match sign {
            Some('-') => Operation::Default { or_empty, parts },
            Some('?') => Operation::Demand { or_empty, parts },
            _ => Operation::Alternative { or_empty, parts },
        })
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.rest().chars().next() {
            let legal = c == '_' || c.is_ascii_alphabetic() || (!name.is_empty() && c.is_ascii_digit());
            if !legal {
                break;
            }
            name.push(c);
            self.position += 1;
        }
        name
    }

    fn fault<T>(&mut self, start: usize, what: &str, remedy: &str) -> Option<T> {
        // One fault per text: after it, what opens and what closes is a guess.
        if self.faults.is_empty() {
            let end = self.position.max(start + 1);
            self.faults.push(Fault { at: start..end, what: what.into(), remedy: remedy.into() });
        }
        None
    }
}

fn evaluate(parts: &[Part], environment: Environment<'_>, output: &mut String, faults: &mut Vec<Fault>) {
    for part in parts {
        if faults.len() >= MAX_FAULTS {
            return;
        }
        match part {
            Part::Literal(text) => output.push_str(text),
            Part::Variable { name, operation, at } => {
                let value = environment(name);
                let present = |or_empty: bool| value.as_deref().filter(|v| !(or_empty && v.is_empty()));
                match operation {
                    Operation::Plain => match &value {
                        Some(value) => output.push_str(value),
                        None => faults.push(Fault {
                            at: at.clone(),
                            what: format!("the environment variable {name} is not set"),
                            remedy: remedy(name),
                        }),
                    },
                    Operation::Default { or_empty, parts } => match present(*or_empty) {
                        Some(value) => output.push_str(value),
                        None => evaluate(parts, environment, output, faults),
                    },
                    Operation::Demand { or_empty, parts } => match present(*or_empty) {
                        Some(value) => output.push_str(value),
                        None => {
                            let mut message = String::new();
                            evaluate(parts, environment, &mut message, faults);
                            let state = if value.is_some() { "empty" } else { "not set" };
                            faults.push(Fault {
                                at: at.clone(),
                                what: format!("the environment variable {name} is {state}"),
                                remedy: if message.is_empty() { format!("set {name}") } else { message },
                            });
                        }
                    },
                    Operation::Alternative { or_empty, parts } => {
                        if present(*or_empty).is_some() {
                            evaluate(parts, environment, output, faults);
                        }
                    }
                }
            }
        }
    }
}

/// Who copies a line out of nginx's configuration means a variable of the request.
fn remedy(name: &str) -> String {
    match Template::parse(&format!("${name}"), Moment::End) {
        Ok(_) => format!("for the variable of a request write $${name}"),
        Err(_) => format!("set it, or give it a default: ${{{name}:-default}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("${A}".into()),
            _ => None,
        }
    }

    #[test]
    fn expressions_mean_what_compose_means() {
        let table = [
            ("plain", "plain"),
            ("$A", "a"),
            ("x${A}y$A.z", "xaya.z"),
            ("$$A $${A}", "$A ${A}"),
            ("${A:-b}${A-b}", "aa"),
            ("${U:-b}${U-b}", "bb"),
            ("${EMPTY:-b}|${EMPTY-b}", "b|"),
            ("${A:?no}${A?no}${EMPTY?no}", "aa"),
            ("${A:+b}|${EMPTY:+b}|${EMPTY+b}|${U+b}", "b||b|"),
            ("${U:-${V:-$A}}", "a"),
            ("${U:-${V:-x}y}z", "xyz"),
            ("${U:-a:-b}", "a:-b"),
            ("${A:-${U}}", "a"),
            ("${A:-${U:?never asked}}", "a"),
            ("${U:-$$}", "$"),
            ("$DOLLAR", "${A}"),
            ("ü${U:-ö}ä", "üöä"),
        ];
        for (text, expect) in table {
            assert_eq!(interpolate(text, &environment).map(|r| r.0), Ok(expect.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let table = [
            ("x $U", vec![(2..4, "the environment variable U is not set")]),
            (
                "$U ${V}",
                vec![
                    (0..2, "the environment variable U is not set"),
                    (3..7, "the environment variable V is not set"),
                ],
            ),
            ("${U:?say}", vec![(0..9, "the environment variable U is not set")]),
            ("${EMPTY:?say}", vec![(0..13, "the environment variable EMPTY is empty")]),
            ("${U:-$V}", vec![(5..7, "the environment variable V is not set")]),
            ("5 $", vec![(2..3, "\"$\" is not followed by a variable's name")]),
            ("$1", vec![(0..1, "\"$\" is not followed by a variable's name")]),
            ("${}", vec![(0..2, "\"$\" is not followed by a variable's name")]),
            ("a${A", vec![(1..4, "\"${\" is never closed")]),
            ("${A:-x", vec![(0..6, "\"${\" is never closed")]),
            ("${A/x/y}", vec![(0..8, "this is not an expression that Docker Compose knows")]),
            ("${A:}", vec![(0..5, "this is not an expression that Docker Compose knows")]),
        ];
        for (text, expect) in table {
            let faults = interpolate(text, &environment).expect_err(text);
            let got: Vec<_> = std::iter::once(&faults.first)
                .chain(&faults.others)
                .map(|f| (f.at.clone(), f.what.as_str()))
                .collect();
            assert_eq!(got, expect, "{text}");
        }
        let deep = format!("{}x{}", "${U:-".repeat(100_000), "}".repeat(100_000));
        assert_eq!(
            interpolate(&deep, &environment).expect_err("deep").first.what,
            "defaults are nested too deeply"
        );
    }
}
