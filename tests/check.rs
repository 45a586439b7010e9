//! `vipgate check` and `vipgate schema` as a user calls them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test writes files, and fails where it cannot"
)]

use std::path::PathBuf;
use std::process::{Command, Output};

fn vipgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vipgate")).args(arguments).env_clear().output().unwrap()
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const GOOD: &str = "node: a\nservers: [{listen: [80], routes: [{path: /, respond: {}}]}]\n";

#[test]
fn exit_code_and_words_say_whether_a_file_can_be_used() {
    let good = file("good.yaml", GOOD);
    let bad = file("bad.yaml", "nod: a\nservers: [{listen: 80}]\n");
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let ok = "ok: 0 virtual routers, 1 server, 0 upstreams for node a in ";
    let table: [(&[&str], i32, &[&str]); 5] = [
        (&["check", good], 0, &[ok]),
        (
            &["check", bad],
            78,
            &["bad.yaml:1:1: error: unknown key \"nod\"", "bad.yaml:2:11: error: ", "bad.yaml:2:20: error: "],
        ),
        (&["check", bad, good], 78, &["bad.yaml:1:1: error", ok]),
        (&["check", "/nonexistent"], 78, &["/nonexistent: error: cannot be read: No such file", "help: "]),
        (&["check", "--help"], 0, &["[default: /etc/vipgate/vipgate.yaml]"]),
    ];
    for (arguments, code, words) in table {
        let output = vipgate(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
        for words in words {
            assert!(text.contains(words), "{arguments:?}: {words}\n{text}");
        }
    }
}

#[test]
fn the_keys_of_adverts_are_looked_at() {
    let virtual_router = "node: a\nvrrp: {web: {vrid: 51, virtual_addresses: [10.0.0.9], peers: [b], auth_hmac: {keys: [{id: \
                          1, key_file: PATH}]}}}\n";
    for (name, key, code, words) in [
        ("good.key", Some("hex:".to_owned() + &"a5".repeat(32)), 0, "ok: 1 virtual router"),
        ("short.key", Some("secret".to_owned()), 78, "short.key: the key has 6 bytes, and needs 32 to 64"),
        ("absent.key", None, 78, "absent.key cannot be read: No such file"),
    ] {
        if let Some(key) = &key {
            file(name, key);
        }
        let config = file(&format!("{name}.yaml"), &virtual_router.replace("PATH", name));
        let output = vipgate(&["check", config.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}\n{text}");
        assert!(text.contains(words) && !text.contains("secret"), "{name}\n{text}");
    }
}

#[test]
fn without_a_file_the_environment_is_checked() {
    // Where somebody has a configuration, it is that one which is checked.
    if std::path::Path::new("/etc/vipgate/vipgate.yaml").exists() {
        return;
    }
    let named = file("named.yaml", GOOD);
    let named = named.to_str().unwrap();
    let upstream = ("VIPGATE_UPSTREAM", "app:80 other:80");
    let built_in = "in (built in, from the environment)";
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let table: [(Variables<'_>, i32, &str); 6] = [
        (&[("VIPGATE_VIP", "172.20.128.4")], 78, "VIPGATE_UPSTREAM=app:80"),
        (&[], 78, "VIPGATE_UPSTREAM=app:80"),
        (&[upstream], 0, built_in),
        (&[upstream, ("VIPGATE_CONFIG", named)], 0, "named.yaml"),
        (&[upstream, ("VIPGATE_CONFIG", "/nonexistent")], 78, "/nonexistent: error: cannot be read"),
        (&[("VIPGATE_UPSTREAM", "app")], 78, "(built in, from the environment):"),
    ];
    for (environment, code, words) in table {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipgate"));
        let output = command.arg("check").env_clear().envs(environment.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{environment:?}\n{text}");
        assert!(text.contains(words), "{environment:?}: {words}\n{text}");
    }
}

#[test]
fn a_program_reads_the_same_as_json() {
    let bad = file("bad-for-programs.yaml", "node: a\nserver: []\n");
    let output = vipgate(&["check", "--json", bad.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(json[0]["ok"], false);
    assert_eq!(json[0]["problems"][0]["line"], 2);
    assert_eq!(json[0]["problems"][0]["remedy"], "did you mean \"servers\"?");
    assert_eq!(json[0]["problems"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_schema_knows_every_key_of_the_reference() {
    let schema: serde_json::Value = serde_json::from_slice(&vipgate(&["schema"]).stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let web = &schema["properties"]["vrrp"]["additionalProperties"];
    assert_eq!(web["required"], serde_json::json!(["vrid", "virtual_addresses"]));
    assert_eq!(web["properties"]["priority"]["default"], 100);
    assert_eq!(web["properties"]["lease"]["default"], "1s");
    assert_eq!(web["additionalProperties"], false);

    let reference = String::from_utf8(vipgate(&["schema", "--markdown"]).stdout).unwrap();
    let text = schema.to_string();
    for line in reference.lines().filter(|line| line.starts_with("| `")) {
        let key = line.trim_start_matches("| `").split('`').next().unwrap();
        assert!(text.contains(&format!("\"{key}\":")), "{key}");
    }
}
