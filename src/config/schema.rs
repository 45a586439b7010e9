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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    /// What an editor would say: the keywords that `schema` uses, and no other.
    fn check(schema: &Json, value: &Json, at: &str) -> Result<(), String> {
        let complaint = |why: &str| Err(format!("{at}: {why}: {value}"));
        for (keyword, rule) in schema.as_object().unwrap() {
            let number = || value.as_i64().unwrap_or(0);
            let ok = match keyword.as_str() {
                "$schema" | "title" | "description" | "default" | "required" => true,
                "type" => types(rule).iter().any(|name| kinds(value).contains(name)),
                "enum" => rule.as_array().unwrap().contains(value),
                "anyOf" => rule.as_array().unwrap().iter().any(|s| check(s, value, at).is_ok()),
                "minimum" => number() >= rule.as_i64().unwrap(),
                "maximum" => number() <= rule.as_i64().unwrap(),
                "pattern" => {
                    let pattern = regex_lite::Regex::new(rule.as_str().unwrap()).unwrap();
                    value.as_str().is_some_and(|text| pattern.is_match(text))
                }
                "items" => {
                    value.as_array().into_iter().flatten().try_for_each(|item| check(rule, item, at))?;
                    true
                }
                "properties" | "additionalProperties" => {
                    for (key, inner) in value.as_object().into_iter().flatten() {
                        let below = format!("{at}.{key}");
                        match (
                            schema.get("properties").and_then(|p| p.get(key)),
                            &schema["additionalProperties"],
                        ) {
                            (Some(property), _) => check(property, inner, &below)?,
                            (None, Json::Bool(false)) => return Err(format!("{below}: unknown")),
                            (None, any) => check(any, inner, &below)?,
                        }
                    }
                    true
                }
                other => panic!("{other} is not checked here"),
            };
            if !ok {
                return complaint(keyword);
            }
        }
        let missing = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        match missing.filter_map(Json::as_str).find(|key| value.get(key).is_none()) {
            Some(key) => complaint(&format!("{key} is missing")),
            None => Ok(()),
        }
    }

    fn types(rule: &Json) -> Vec<&str> {
        rule.as_array()
            .map_or_else(|| vec![rule], |all| all.iter().collect())
            .into_iter()
            .filter_map(Json::as_str)
            .collect()
    }

    /// All numbers of a config are whole.
    fn kinds(value: &Json) -> &'static [&'static str] {
        match value {
            Json::Null => &["null"],
            Json::Bool(_) => &["boolean"],
            Json::Number(_) => &["integer", "number"],
            Json::String(_) => &["string"],
            Json::Array(_) => &["array"],
            Json::Object(_) => &["object"],
        }
    }

    #[test]
    fn what_the_loader_takes_an_editor_takes() {
        let vrrp = "vrrp: {a: {vrid: 1, virtual_addresses: [10.0.0.1], X}}";
        let upstream = "upstreams: {a: {servers: [\"app:80\", {address: \"b:1\", weight: 2}], X}}";
        let server = "servers: [{listen: [80, \"[::]:81\"], routes: [{path: /, respond: {}}], X}]";
        let table: &[(&str, &str, bool)] = &[
            ("X", "{}", true),
            ("X", "{workers: auto, log: {level: warn, format: json}, node: 7}", true),
            ("X", "{workers: 2}", true),
            (
                "X",
                "{webhooks: [{url: 'https://a/b', headers: {Authorization: x}, tries: 3, ca_file: ca.pem}]}",
                true,
            ),
            (
                "X",
                "{email: {smtp_server: mail, notification_email: [a@b], notification_email_from: c@d}}",
                true,
            ),
            ("X", "{email: {smtp_server: mail}}", false),
            ("X", "{webhooks: [{uri: 'https://a/b'}]}", false),
            ("X", "{workers: \"${N:-auto}\"}", true),
            ("X", "{workers: many}", false),
            ("X", "{worker: 1}", false),
            ("X", "{log: {level: loud}}", false),
            ("X", "[]", false),
            ("X", "{sync_groups: {g: {members: [a, b]}}}", true),
            ("X", "{sync_groups: {g: [a, b]}}", false),
            ("X", "{vrrp: {a: {vrid: 1}}}", false),
            (vrrp, "version: 3", true),
            (vrrp, "version: '2'", true),
            (vrrp, "version: 4", false),
            (vrrp, "priority: 255", true),
            (vrrp, "priority: 256", false),
            (vrrp, "priority: \"${P:-100}\"", true),
            (vrrp, "priority: high", false),
            (vrrp, "preempt: false", true),
            (vrrp, "preempt: yes", false),
            (vrrp, "preempt_delay: 5m", true),
            (vrrp, "preempt_delay: 300", false),
            (vrrp, "advert_interval: 1m30s", true),
            (vrrp, "profile: fast", true),
            (vrrp, "profile: 10ms", false),
            (vrrp, "advert_interval: 100", false),
            (vrrp, "subnet: 10.0.0.0/8", true),
            (vrrp, "subnet: here", false),
            (vrrp, "interface: eth0, peers: [m, 10.0.0.2]", true),
            (vrrp, "peers: m", false),
            (vrrp, "notify: /hooks/n, notify_master: [/hooks/m, -v, 3], notify_timeout: 5s", true),
            (vrrp, "notify: {program: /hooks/n}", false),
            (vrrp, "notify_timeout: 5", false),
            (vrrp, "track: [{interface: eth1}, {http: \"10.0.0.1:80\", uri: /up, weight: -20}]", true),
            (vrrp, "track: [{tcp: 80, weight: 300}]", false),
            (vrrp, "track: [{tcp: 80, colour: red}]", false),
            (vrrp, "track: {tcp: 80}", false),
            (vrrp, "authentication: {type: pass, password: 12345678}", true),
            (vrrp, "authentication: {type: ah, password: x}", false),
            (vrrp, "auth_hmac: {keys: [{id: 1, key_file: k}], active_key: 1, mode: receive-only}", true),
            (vrrp, "auth_hmac: {mode: off}", true),
            (vrrp, "auth_hmac: {keys: [{id: 1, key: secret}]}", false),
            (vrrp, "auth_hmac: {mode: maybe}", false),
            (upstream, "check: {type: http, method: HEAD, uri: /up, host: a, inter: 2s, rise: 1}", true),
            (upstream, "check: {inter: 2}", false),
            (upstream, "retries: 0, redispatch: true, retry_on: [empty_response], keepalive: 0", true),
            (upstream, "retry_on: [whenever]", false),
            (upstream, "timeouts: {connect: 1s, first_byte: none}", true),
            (upstream, "timeouts: {first_byte: 300ms}", true),
            (upstream, "timeouts: {connect: never}", false),
            (upstream, "weight: 1", false),
            (server, "server_names: [a, 10.0.0.1]", true),
            (server, "server_names: a", false),
            (server, "add_headers: {X-A: 1, X-B: \"${B}\"}", true),
            (server, "add_headers: [X-A]", false),
            ("servers: [{listen: [0], routes: []}]", "", false),
            ("servers: [{routes: []}]", "", false),
            ("servers: [{listen: [80], routes: [{exact: /a, files: {root: html, index: a}}]}]", "", true),
            ("servers: [{listen: [80], routes: [{path: /a, proxy: {upstream: b}}]}]", "", true),
            ("servers: [{listen: [80], routes: [{path: /a, proxy: b}]}]", "", false),
            ("servers: [{listen: [80], routes: [{path: /, respond: {status: 404, body: a}}]}]", "", true),
            ("servers: [{listen: [80], routes: [{path: /, respond: {status: 99}}]}]", "", false),
        ];
        for (text, inside, expect) in table {
            let value = tree::json(&text.replace('X', inside)).unwrap();
            let got = check(&schema(), &value, "");
            assert_eq!(got.is_ok(), *expect, "{text} {inside}: {got:?}");
        }
    }
}
