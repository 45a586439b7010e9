//! The JSON Schema (draft 2020-12) of the document, for editors. It accepts an expression such as `${NAME}` wherever
//! a value may stand; what needs the whole document (names that resolve, addresses that collide) only the loader sees.

use serde_json::{Value as Json, json};

use super::document::Document;
use super::field::Field;

pub fn schema() -> Json {
    let mut schema = Document::form().schema;
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".into(), json!("vipgate configuration"));
    }
    schema
}
