//! The document as a small tree of texts, lists and mappings that know their place in the file. YAML 1.2 and therefore
//! JSON; one document; bounded in size, depth and number of values, aliases counted as often as they are used.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as YamlSpan};

use serde_json::Value as Json;

use super::interpolate::{Environment, Fault, interpolate};
use super::problem::shown;
use super::report::{Report, Reported, Span};
use super::syntax::explain;

/// A config that a person maintains has some kilobytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The deepest place of the format is at 7.
const MAX_DEPTH: usize = 32;
/// Bounds what aliases of aliases can multiply ("billion laughs").
const MAX_VALUES: usize = 50_000;
/// All texts after interpolation: an environment variable may have 128 KiB and be named on every line.
const MAX_TEXT: usize = 4 << 20;

pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
    /// Values in this subtree, this one included.
    count: usize,
    /// Bytes of text in this subtree.
    bytes: usize,
}

pub(super) enum Value {
    /// Nothing, `~`, `null`, or a scalar that interpolation left empty: as if the key were not there.
    Null,
    /// What stands there could not be interpolated.
    Broken(Reported),
    Scalar(String),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Span,
    pub(super) node: Rc<Node>,
}

/// Problems inside of scalars are collected; a syntax error or an exceeded bound ends the reading.
pub(super) fn parse(
    text: &str,
    report: &mut Report<'_>,
    environment: Environment<'_>,
) -> Result<Rc<Node>, Reported> {
    if text.len() > MAX_BYTES {
        return Err(report.error(
            Span::default(),
            format!("the document has {} bytes, more than {MAX_BYTES}", text.len()),
            "is this the right file?",
        ));
    }
    let options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut builder = Builder {
        environment: Some(environment),
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        count: 0,
        bytes: 0,
    };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax_error(text, report, &error))?;
        let at = place(text, span);
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    return Err(report.error(
                        at,
                        "a second document starts here",
                        "keep everything in one document, without \"---\" inside",
                    ));
                }
            }
            event => builder.event(event, at, report)?,
        }
    }
    Ok(builder.finish())
}

/// A default of the field table, read like a document; everything in it lies at `at`.
pub(super) fn literal(text: &str, at: Span, report: &mut Report<'_>) -> Result<Rc<Node>, Reported> {
    let mut builder = Builder {
        environment: None,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        count: 0,
        bytes: 0,
    };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::DocumentStart(..), _)) => {}
            Ok((event, _)) => builder.event(event, at, report)?,
            Err(error) => {
                return Err(report.error(
                    at,
                    format!("the default {text:?} is broken: {error}"),
                    "report this bug",
                ));
            }
        }
    }
    Ok(builder.finish())
}

/// `{key: text}` as if it were written at `at`.
pub(super) fn entry(key: &str, text: &str, at: Span) -> Node {
    let scalar = Node { span: at, value: Value::Scalar(text.to_owned()), count: 1, bytes: text.len() };
    let entry = Entry { key: key.to_owned(), at, node: Rc::new(scalar) };
    Node { span: at, value: Value::Mapping(vec![entry]), count: 2, bytes: text.len() }
}

/// A default of the field table as JSON.
pub(super) fn json(text: &str) -> Option<Json> {
    let mut report = Report::new("", "");
    literal(text, Span::default(), &mut report).ok().map(|node| node.json())
}

impl Node {
    fn json(&self) -> Json {
        match &self.value {
            Value::Null | Value::Broken(_) => Json::Null,
            Value::Scalar(text) => match text.parse::<i64>() {
                Ok(number) => number.into(),
                Err(_) if text == "true" || text == "false" => (text == "true").into(),
                Err(_) => text.as_str().into(),
            },
            Value::Sequence(items) => items.iter().map(|item| item.json()).collect(),
            Value::Mapping(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.json())).collect()
            }
        }
    }
}

struct Builder<'e> {
    environment: Option<Environment<'e>>,
    stack: Vec<Open>,
    /// `None` while the anchored value is still being read.
    anchors: HashMap<usize, Option<Rc<Node>>>,
    root: Option<Rc<Node>>,
    count: usize,
    bytes: usize,
}

struct Open {
    at: Span,
    anchor: usize,
    count: usize,
    bytes: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Rc<Node>>),
    Mapping { entries: Vec<Entry>, seen: HashMap<String, Span>, key: Key },
}

enum Key {
    Awaited,
    Read(String, Span),
    /// Not a text: reported, and its value is dropped.
    Unusable,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, at: Span, report: &mut Report<'_>) -> Result<(), Reported> {
        if event.tag().is_some() {
            report.error(at, "tags are not supported", "remove the \"!..\" before this value");
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                if self.awaits_key() {
                    self.key(text.into_owned(), at, report);
                    return Ok(());
                }
                let value = self.scalar(&text, style, at, report);
                let bytes = match &value {
                    Value::Scalar(text) => text.len(),
                    Value::Null | Value::Broken(_) | Value::Sequence(_) | Value::Mapping(_) => 0,
                };
                self.complete(Node { span: at, value, count: 1, bytes }, anchor, report)
            }
            Event::Alias(anchor) => {
                if self.awaits_key() {
                    self.unusable_key(at, report);
                    return Ok(());
                }
                match self.anchors.get(&anchor) {
                    Some(Some(node)) => {
                        let node = Rc::clone(node);
                        self.attach(node, at, report)
                    }
                    Some(None) | None => Err(report.error(
                        at,
                        "this alias stands inside of the value that it names",
                        "write the value out",
                    )),
                }
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(at, anchor, Content::Sequence(Vec::new()), report)
            }
            Event::MappingStart(_, anchor, _) => {
                let content =
                    Content::Mapping { entries: Vec::new(), seen: HashMap::new(), key: Key::Awaited };
                self.open(at, anchor, content, report)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at, report),
            // `Event` is not ours and may grow; what is left carries no value.
            _ => Ok(()),
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open { content: Content::Mapping { key: Key::Awaited, .. }, .. }))
    }

    fn key(&mut self, text: String, at: Span, report: &mut Report<'_>) {
        let Some(Open { content: Content::Mapping { seen, key, .. }, .. }) = self.stack.last_mut() else {
            return;
        };
        if let Some(first) = seen.get(&text) {
            let line = report.line(*first);
            let what = format!("the key {} is already in line {line}", shown(&text));
            report.error(at, what, "keep one of the two");
        } else {
            seen.insert(text.clone(), at);
        }
        *key = Key::Read(text, at);
    }

    fn unusable_key(&mut self, at: Span, report: &mut Report<'_>) {
        report.error(at, "a key must be a plain text", "write a name before the \":\"");
        if let Some(Open { content: Content::Mapping { key, .. }, .. }) = self.stack.last_mut() {
            *key = Key::Unusable;
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Span, report: &mut Report<'_>) -> Value {
        let (text, changed) = match self.environment.map(|environment| interpolate(text, environment)) {
            None => (text.to_owned(), false),
            Some(Ok(result)) => result,
            Some(Err(fault)) => {
                let mut reported = broken(text, fault.first, at, report);
                for fault in fault.others {
                    reported = broken(text, fault, at, report);
                }
                return Value::Broken(reported);
            }
        };
        let plain = style == ScalarStyle::Plain;
        let null = plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        if null || (changed && text.is_empty()) { Value::Null } else { Value::Scalar(text) }
    }

    fn open(
        &mut self,
        at: Span,
        anchor: usize,
        content: Content,
        report: &mut Report<'_>,
    ) -> Result<(), Reported> {
        if self.awaits_key() {
            return Err(report.error(
                at,
                "a key must be a plain text",
                "is this an expression like ${NAME}, or a value with \"{\" or \"[\"? Put it between quotes",
            ));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(report.error(
                at,
                format!("more than {MAX_DEPTH} levels of nesting"),
                "is this the right file?",
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.stack.push(Open { at, anchor, count: 1, bytes: 0, content });
        Ok(())
    }

    fn close(&mut self, end: Span, report: &mut Report<'_>) -> Result<(), Reported> {
        let Some(Open { at, anchor, count, bytes, content }) = self.stack.pop() else { return Ok(()) };
        let value = match content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping { entries, .. } => Value::Mapping(entries),
        };
        let span = Span { start: at.start, end: end.end.max(at.end) };
        // Its values have been counted one by one.
        self.count = self.count.saturating_sub(count - 1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.complete(Node { span, value, count, bytes }, anchor, report)
    }

    fn complete(&mut self, node: Node, anchor: usize, report: &mut Report<'_>) -> Result<(), Reported> {
        let at = node.span;
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Some(Rc::clone(&node)));
        }
        self.attach(node, at, report)
    }

    fn attach(&mut self, node: Rc<Node>, at: Span, report: &mut Report<'_>) -> Result<(), Reported> {
        self.count += node.count;
        self.bytes += node.bytes;
        if self.count > MAX_VALUES {
            return Err(report.error(at, format!("more than {MAX_VALUES} values"), "use fewer aliases"));
        }
        if self.bytes > MAX_TEXT {
            return Err(report.error(
                at,
                format!("more than {MAX_TEXT} bytes of text once variables and aliases are replaced"),
                "use smaller values",
            ));
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.count += node.count;
        open.bytes += node.bytes;
        match &mut open.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, key, .. } => match std::mem::replace(key, Key::Awaited) {
                Key::Read(key, at) => entries.push(Entry { key, at, node }),
                Key::Awaited | Key::Unusable => {}
            },
        }
        Ok(())
    }

    fn finish(self) -> Rc<Node> {
        let nothing = || Rc::new(Node { span: Span::default(), value: Value::Null, count: 1, bytes: 0 });
        self.root.unwrap_or_else(nothing)
    }
}

/// A fault within the scalar `text` that stands at `at`.
fn broken(text: &str, fault: Fault, at: Span, report: &mut Report<'_>) -> Reported {
    let expression = text.get(fault.at).unwrap_or(text);
    // Looked for in the file, since escapes and folded lines put it elsewhere than in the text.
    let exact = report.written(at).find(expression).map(|offset| {
        let start = at.start + offset;
        Span { start, end: start + expression.len() }
    });
    report.error(exact.unwrap_or(at), fault.what, fault.remedy)
}

fn place(text: &str, span: YamlSpan) -> Span {
    let start = offset(text, span.start);
    Span { start, end: offset(text, span.end).max(start) }
}

fn offset(text: &str, marker: Marker) -> usize {
    marker.byte_offset().unwrap_or(0).min(text.len())
}

fn syntax_error(text: &str, report: &mut Report<'_>, error: &ScanError) -> Reported {
    let start = offset(text, *error.marker());
    let (what, remedy) = explain(error, text.get(..start).unwrap_or(""));
    report.fatal(Span { start, end: start }, what, remedy)
}
