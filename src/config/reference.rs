//! The reference of the document in Markdown: one table for each object, made from the field tables.

use super::document::Document;
use super::field::{Field, FieldForm, ObjectForm};

pub fn reference() -> String {
    let mut text = String::new();
    if let Some(object) = Document::form().object {
        section(&mut text, "", &object);
    }
    text
}

/// The object at `path`, then those inside of it.
fn section(text: &mut String, path: &str, object: &ObjectForm) {
    let title = if path.is_empty() { "The document".to_owned() } else { format!("`{path}`") };
    text.push_str(&format!(
        "### {title}\n\n{}\n\n| key | value | default | |\n| --- | --- | --- | --- |\n",
        object.about
    ));
    for field in &object.fields {
        let default = match (field.default, field.required) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) => String::new(),
        };
        let words = &field.form.words;
        text.push_str(&format!(
            "| `{}` | {} | {default} | {} |\n",
            field.key,
            cell(words),
            cell(&field.about)
        ));
    }
    for (field, inner) in object.fields.iter().filter_map(|field| Some((field, field.form.object.as_ref()?)))
    {
        text.push('\n');
        section(text, &below(path, field), inner);
    }
}

/// Where the objects of `field` stand: `vrrp.NAME`, `servers[]`.
fn below(path: &str, field: &FieldForm) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    let schema = &field.form.schema;
    let suffix = if schema.get("items").is_some() {
        "[]"
    } else if schema.get("additionalProperties").is_some_and(serde_json::Value::is_object) {
        ".NAME"
    } else {
        ""
    };
    format!("{path}{dot}{}{suffix}", field.key)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
