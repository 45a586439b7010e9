//! The environment as it was handed in: names and values that are text.

use std::collections::BTreeMap;
use std::ffi::OsString;

#[derive(Clone, Debug, Default)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What is not UTF-8 cannot be written in a configuration either, and is left out.
    pub(super) fn new(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// As it is set, which may be empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// An empty value counts as none, as in Compose's `${NAME:-default}`.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// The suffix of the control socket's name.
    pub(super) fn control_suffix(&self) -> &str {
        self.value("VIPGATE_CONTROL").unwrap_or_default()
    }
}
