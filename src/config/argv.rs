//! A program and its arguments.

use serde_json::json;

use super::field::{Fault, Field, Form, List, Place, Scalar};
use super::problem::shown;
use super::report::{Report, Reported};
use super::tree::Value;

/// The kernel takes more, and nobody writes more.
const MAX_WORDS: usize = 256;

/// The program is an absolute path or a name without a slash.
pub(super) struct Argv(pub(super) Vec<String>);

impl Field for Argv {
    fn form() -> Form {
        Form {
            words: "a program and its arguments, such as [/hooks/moved, --quiet]".into(),
            schema: json!({ "anyOf": [String::schema(), { "type": "array", "items": String::schema() }] }),
            object: None,
        }
    }

    fn read(place: Place<'_>, report: &mut Report<'_>) -> Result<Self, Reported> {
        let at = place.node.span;
        let argv = match &place.node.value {
            Value::Scalar(text) if text.contains(char::is_whitespace) => {
                let words: Vec<_> = text.split_whitespace().map(shown).collect();
                return Err(report.error(
                    at,
                    format!("{} would be the name of a program, since no shell reads it", shown(text)),
                    format!("write its words as a list: [{}]", words.join(", ")),
                ));
            }
            Value::Scalar(text) => vec![text.clone()],
            _ => List::<String>::read(place, report)?.take()?,
        };
        check(&argv).map(|()| Self(argv)).map_err(|fault| report.error(at, fault.what, fault.remedy))
    }
}

fn check(argv: &[String]) -> Result<(), Fault> {
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err(Fault::new("the program is missing", "write [program, argument, ..], or remove the key"));
    };
    if program.contains('/') && !program.starts_with('/') {
        return Err(Fault::new(
            format!("the program {} has a relative path, and vipgate runs in no folder", shown(program)),
            "write its absolute path, or its name alone if it is found in PATH",
        ));
    }
    if argv.len() > MAX_WORDS {
        return Err(Fault::new(format!("more than {MAX_WORDS} words"), "put them into a script or a file"));
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(Fault::new("a word contains a NUL", "remove it; no program can be given one"));
    }
    Ok(())
}
