//! One table of fields per object: from it come the reading, the suggestions, the defaults, the JSON Schema and the
//! reference. `object!` declares an object; `Scalar` is a value written as one text; `Field` is anything that can
//! stand after a key.

use serde_json::{Value as Json, json};

use super::problem::{shown, suggestion};
use super::report::{Report, Reported, Span};
use super::tree::{self, Node, Value};

/// Why a text is not the value it should be, and what would be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// How a value is written: in words, as JSON Schema, and as a table of fields if it is an object.
pub(super) struct Form {
    /// With its article: "a duration from 10ms to 1h".
    pub(super) words: String,
    pub(super) schema: Json,
    pub(super) object: Option<ObjectForm>,
}

pub(super) struct ObjectForm {
    pub(super) about: String,
    pub(super) fields: Vec<FieldForm>,
}

pub(super) struct FieldForm {
    pub(super) key: &'static str,
    pub(super) about: String,
    pub(super) default: Option<&'static str>,
    pub(super) required: bool,
    pub(super) form: Form,
}

/// A value and where it stands. `owner` is its key, or itself where it has none: the place for what is missing in it.
#[derive(Clone, Copy)]
pub(super) struct Place<'n> {
    pub(super) node: &'n Node,
    pub(super) owner: Span,
}

pub(super) trait Field: Sized {
    fn form() -> Form;
    fn read(place: Place<'_>, report: &mut Report<'_>) -> Result<Self, Reported>;
    /// What stands for a key that is not there, if it may be left out without a default.
    fn absent() -> Option<Self> {
        None
    }
}

/// A value that is written as one text, quoted or not: the key decides what it is, not YAML's guess.
pub(super) trait Scalar: Sized {
    fn words() -> String;
    fn schema() -> Json;
    fn parse(text: &str) -> Result<Self, Fault>;
}

impl<T: Scalar> Field for T {
    fn form() -> Form {
        Form { words: T::words(), schema: T::schema(), object: None }
    }

    fn read(place: Place<'_>, report: &mut Report<'_>) -> Result<Self, Reported> {
        match &place.node.value {
            Value::Scalar(text) => {
                T::parse(text).map_err(|fault| report.error(place.node.span, fault.what, fault.remedy))
            }
            _ => Err(unexpected(place, &T::words(), report)),
        }
    }
}

/// The schema of a text that is not free: an editor must accept an expression in its place.
pub(super) fn text_schema(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": format!("^({pattern})$|\\$") })
}

/// The schema of a value that JSON has a type for.
pub(super) fn typed_schema(typed: Json, pattern: &str) -> Json {
    json!({ "anyOf": [typed, text_schema(pattern)] })
}

/// "expected .., found .."
fn unexpected(place: Place<'_>, words: &str, report: &mut Report<'_>) -> Reported {
    unexpected_instead(place, words, format!("write {words}"), report)
}

fn unexpected_instead(place: Place<'_>, words: &str, remedy: String, report: &mut Report<'_>) -> Reported {
    let found = match &place.node.value {
        Value::Broken(reported) => return *reported,
        Value::Null => "nothing".to_owned(),
        Value::Scalar(text) => shown(text),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
    };
    let at = if matches!(place.node.value, Value::Null) { place.owner } else { place.node.span };
    report.error(at, format!("expected {words}, found {found}"), remedy)
}

/// What an object's key holds.
pub(super) struct Slot<T> {
    value: Result<T, Reported>,
    /// Whether it stands in the file; else it is the default.
    pub(super) written: bool,
    /// The value, or, where the key is not written, the key of the object.
    pub(super) at: Span,
}

impl<T> Slot<T> {
    /// `None` if there is no usable value, which has been reported.
    pub(super) fn get(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }

    pub(super) fn as_ref(&self) -> Result<&T, Reported> {
        self.value.as_ref().map_err(|reported| *reported)
    }

    pub(super) fn take(self) -> Result<T, Reported> {
        self.value
    }
}

impl<T: Copy> Slot<T> {
    pub(super) fn copied(&self) -> Result<T, Reported> {
        self.as_ref().copied()
    }
}

impl<T> Slot<Option<T>> {
    /// The value if there is a usable one.
    pub(super) fn some(&self) -> Option<&T> {
        self.get().and_then(Option::as_ref)
    }
}

impl<T: Field> Field for Option<T> {
    fn form() -> Form {
        T::form()
    }

    fn read(place: Place<'_>, report: &mut Report<'_>) -> Result<Self, Reported> {
        T::read(place, report).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// Values in the order of the file.
pub(super) struct List<T>(pub(super) Vec<Slot<T>>);

impl<T> List<T> {
    /// The usable items and their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&T, Span)> {
        self.0.iter().filter_map(|slot| slot.get().map(|value| (value, slot.at)))
    }

    pub(super) fn take(self) -> Result<Vec<T>, Reported> {
        self.0.into_iter().map(Slot::take).collect()
    }
}

impl<T: Field> Field for List<T> {
    fn form() -> Form {
        let item = T::form();
        let words = format!("a list, each item {}", item.words);
        Form { words, schema: json!({ "type": "array", "items": item.schema }), object: item.object }
    }

    fn read(place: Place<'_>, report: &mut Report<'_>) -> Result<Self, Reported> {
        match &place.node.value {
            Value::Sequence(items) => Ok(Self(
                items
                    .iter()
                    .map(|node| {
                        let item = Place { node, owner: node.span };
                        Slot { value: T::read(item, report), written: true, at: node.span }
                    })
                    .collect(),
            )),
            _ => {
                let remedy = "write it between brackets: [..], or as lines that start with \"- \"";
                Err(unexpected_instead(place, "a list", remedy.into(), report))
            }
        }
    }
}

/// Values under names that the user chose, in the order of the file.
pub(super) struct Map<T>(pub(super) Vec<Named<T>>);

pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) at: Span,
    pub(super) slot: Slot<T>,
}

impl<T> Map<T> {
    /// The usable values and their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().filter_map(|named| named.slot.get().map(|value| (named.name.as_str(), value)))
    }
}

impl<T: Field> Field for Map<T> {
    fn form() -> Form {
        let item = T::form();
        let words = format!("a mapping from names, each to {}", item.words);
        let schema = json!({ "type": "object", "additionalProperties": item.schema });
        Form { words, schema, object: item.object }
    }

    fn read(place: Place<'_>, report: &mut Report<'_>) -> Result<Self, Reported> {
        let Value::Mapping(entries) = &place.node.value else {
            let remedy = format!("write \"name: value\", where the value is {}", T::form().words);
            return Err(unexpected_instead(place, "a mapping", remedy, report));
        };
        Ok(Self(
            entries
                .iter()
                .map(|entry| {
                    let item = Place { node: &entry.node, owner: entry.at };
                    let slot = Slot { value: T::read(item, report), written: true, at: entry.node.span };
                    Named { name: entry.key.clone(), at: entry.at, slot }
                })
                .collect(),
        ))
    }
}

/// The keys of one mapping, being taken one by one by an `object!`.
pub(super) struct Fields<'n> {
    place: Place<'n>,
    /// Keys that a wrong key was meant to be: whoever misses them has been told.
    meant: Vec<(String, Reported)>,
}

impl<'n> Fields<'n> {
    /// Reports everything that is not one of `known`.
    pub(super) fn open(
        place: Place<'n>,
        known: &[&str],
        words: &str,
        report: &mut Report<'_>,
    ) -> Result<Self, Reported> {
        let Value::Mapping(entries) = &place.node.value else {
            let remedy = format!("write \"key: value\" with the keys {}", known.join(", "));
            return Err(unexpected_instead(place, words, remedy, report));
        };
        let mut meant = Vec::new();
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let word = entry.key.as_str();
            let similar = if report.is_full() {
                None
            } else {
                foreign(word, known).or_else(|| suggestion(word, known.iter().copied()))
            };
            let remedy = match (word, similar) {
                ("nopreempt", Some("preempt")) => "write preempt: false".into(),
                ("services", _) if known.contains(&"vrrp") => {
                    "name vipgate's config; this is one of Docker Compose".into()
                }
                ("<<", _) => "merge keys are not supported; write the keys out".into(),
                (_, Some(key)) => format!("did you mean {key:?}?"),
                (_, None) => format!("the keys here are {}", known.join(", ")),
            };
            let reported = report.error(entry.at, format!("unknown key {}", shown(&entry.key)), remedy);
            meant.extend(similar.map(|key| (key.to_owned(), reported)));
        }
        Ok(Self { place, meant })
    }

    pub(super) fn take<T: Field>(
        &self,
        key: &'static str,
        default: Option<&'static str>,
        report: &mut Report<'_>,
    ) -> Slot<T> {
        let entry = match &self.place.node.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        };
        if let Some(entry) = entry.filter(|entry| !matches!(entry.node.value, Value::Null)) {
            let place = Place { node: &entry.node, owner: entry.at };
            return Slot { value: T::read(place, report), written: true, at: entry.node.span };
        }
        let at = entry.map_or(self.place.owner, |entry| entry.at);
        let value = match default {
            Some(text) => tree::literal(text, at, report)
                .and_then(|node| T::read(Place { node: &node, owner: at }, report)),
            None => T::absent().ok_or_else(|| match self.meant.iter().find(|(meant, _)| meant == key) {
                Some((_, reported)) => *reported,
                None => {
                    let state = if entry.is_some() { "has no value" } else { "is missing" };
                    let remedy = format!("add {key}: {}", T::form().words);
                    report.error(at, format!("the key {key:?} {state}"), remedy)
                }
            }),
        };
        Slot { value, written: false, at }
    }
}

/// What other programs call it.
fn foreign<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    const NAMES: &[(&str, &str)] = &[
        ("virtual_router_id", "vrid"),
        ("advert_int", "advert_interval"),
        ("virtual_ipaddress", "virtual_addresses"),
        ("vips", "virtual_addresses"),
        ("unicast_peer", "peers"),
        ("auth_type", "authentication"),
        ("auth_pass", "password"),
        ("vrrp_instance", "vrrp"),
        ("vrrp_version", "version"),
        ("interval", "inter"),
        ("retry-on", "retry_on"),
        ("server_name", "server_names"),
        ("add_header", "add_headers"),
        ("headers", "add_headers"),
        ("location", "routes"),
        ("locations", "routes"),
        ("proxy_pass", "proxy"),
        ("return", "respond"),
        ("backends", "upstreams"),
        ("http", "servers"),
        ("worker_processes", "workers"),
        ("lb", "balance"),
        ("error_page", "error_pages"),
        ("proxy_set_header", "set_headers"),
        ("set_header", "set_headers"),
        ("proxy_hide_header", "hide_headers"),
        ("proxy_next_upstream", "next_upstream"),
        ("proxy_next_upstream_tries", "next_upstream_tries"),
        ("proxy_next_upstream_timeout", "next_upstream_timeout"),
        ("maxconn", "max_conns"),
    ];
    let (_, ours) = NAMES.iter().find(|(theirs, ours)| *theirs == word && known.contains(ours))?;
    known.iter().copied().find(|key| key == ours)
}

/// The lines of a doc comment as one paragraph.
pub(super) fn paragraph(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// The schema of an object from its fields.
pub(super) fn object_form(name: &str, about: String, fields: Vec<FieldForm>) -> Form {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for field in &fields {
        let mut schema = field.form.schema.clone();
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".into(), json!(field.about));
            if let Some(default) = field.default.and_then(tree::json) {
                object.insert("default".into(), default);
            }
        }
        properties.insert(field.key.into(), schema);
        if field.required {
            required.push(field.key);
        }
    }
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let Some(object) = schema.as_object_mut().filter(|_| !required.is_empty()) {
        object.insert("required".into(), json!(required));
    }
    Form { words: name.to_owned(), schema, object: Some(ObjectForm { about, fields }) }
}

/// Declares an object of the document. Doc comments are its reference; `= ".."` is a default, written as in a file; a
/// field with neither a default nor an `Option` is required.
macro_rules! object {
    (
        $(#[doc = $about:literal])+
        $name:ident, $words:literal {
            $( $(#[doc = $text:literal])+ $field:ident: $type:ty $(= $default:literal)?, )+
        }
    ) => {
        $(#[doc = $about])+
        pub(super) struct $name {
            $( $(#[doc = $text])+ pub(super) $field: $crate::config::field::Slot<$type>, )+
        }

        impl $crate::config::field::Field for $name {
            fn form() -> $crate::config::field::Form {
                use $crate::config::field::{Field, FieldForm, object_form, paragraph};
                let fields = vec![$({
                    let default: Option<&'static str> = None $(.or(Some($default)))?;
                    FieldForm {
                        key: stringify!($field).trim_start_matches("r#"),
                        about: paragraph(&[$($text),+]),
                        default,
                        required: default.is_none() && <$type as Field>::absent().is_none(),
                        form: <$type as Field>::form(),
                    }
                }),+];
                object_form($words, paragraph(&[$($about),+]), fields)
            }

            fn read(
                place: $crate::config::field::Place<'_>,
                report: &mut $crate::config::report::Report<'_>,
            ) -> Result<Self, $crate::config::report::Reported> {
                let known = [$(stringify!($field).trim_start_matches("r#")),+];
                let fields = $crate::config::field::Fields::open(place, &known, $words, report)?;
                Ok(Self {
                    $( $field: {
                        let default: Option<&'static str> = None $(.or(Some($default)))?;
                        fields.take(stringify!($field).trim_start_matches("r#"), default, report)
                    }, )+
                })
            }
        }
    };
}
pub(super) use object;

/// Lets an enum be written as one of a few words.
macro_rules! choice {
    ($type:ty { $($word:literal => $value:expr),+ $(,)? }) => {
        impl $crate::config::field::Scalar for $type {
            fn words() -> String {
                $crate::config::field::choice_words(&[$($word),+])
            }
            fn schema() -> serde_json::Value {
                $crate::config::field::choice_schema(&[$($word),+])
            }
            fn parse(text: &str) -> Result<Self, $crate::config::field::Fault> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err($crate::config::field::choice_fault(text, &[$($word),+])),
                }
            }
        }
    };
}
pub(super) use choice;

pub(super) fn choice_words(words: &[&str]) -> String {
    match words {
        [one] => format!("{one:?}"),
        _ => format!("one of {}", words.join(", ")),
    }
}

pub(super) fn choice_schema(words: &[&str]) -> Json {
    let numbers: Vec<i64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let pattern = words.join("|");
    if numbers.is_empty() {
        text_schema(&pattern)
    } else {
        typed_schema(json!({ "enum": numbers }), &pattern)
    }
}

pub(super) fn choice_fault(text: &str, words: &[&str]) -> Fault {
    let remedy = match suggestion(text, words.iter().copied()) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("write {}", choice_words(words)),
    };
    Fault::new(format!("expected {}, found {}", choice_words(words), shown(text)), remedy)
}
