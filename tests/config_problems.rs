//! Every kind of mistake in a config document, with the place and the words in which it is reported. Pure.
//!
//! The cases are in `config_problems/*.txt`: a context, the document (or the line that goes into an otherwise good
//! one), then each problem as `! line:column what` and `= remedy`, or `! none`.

use std::path::PathBuf;

use vipgate::config::{Problem, Severity, Source, load};

fn environment(name: &str) -> Option<String> {
    match name {
        "HOSTNAME" => Some("host".into()),
        "SECRET" => Some("far too long a secret".into()),
        "EMPTY" => Some(String::new()),
        "INJECTION" => Some("true\nvrrp: {}\nx: [".into()),
        _ => None,
    }
}

fn problems(text: &str) -> Vec<Problem> {
    let source =
        Source { name: "vipgate.yaml".into(), folder: PathBuf::from("/etc/vipgate"), text: text.to_owned() };
    match load(&source, &environment) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.list,
    }
}

/// Expects exactly these problems, written as in the files.
#[track_caller]
fn check(text: &str, expect: &str) {
    let mut got = String::new();
    for p in problems(text) {
        let mark = if p.severity == Severity::Warning { "warning: " } else { "" };
        got.push_str(&format!("! {mark}{}:{} {}\n= {}\n", p.line, p.column, p.what, p.remedy));
    }
    if got.is_empty() {
        got = "! none\n".into();
    }
    assert_eq!(got.trim_end(), expect.trim_end(), "\n{text}");
}

/// `line` inside of an otherwise good virtual router: line 3, column 5.
fn in_vrrp(line: &str) -> String {
    complete(
        format!("vrrp:\n  web:\n    {line}\n"),
        &[("vrid", "51"), ("virtual_addresses", "[172.20.128.4]")],
        line,
    )
}

/// `line` inside of an otherwise good upstream: line 4, column 5.
fn in_upstream(line: &str) -> String {
    let user = "servers: [{listen: [80], routes: [{path: /, proxy: {upstream: app}}]}]";
    complete(format!("{user}\nupstreams:\n  app:\n    {line}\n"), &[("servers", "[\"app:80\"]")], line)
}

/// `line` inside of an otherwise good server: line 2, column 5.
fn in_server(line: &str) -> String {
    complete(
        format!("servers:\n  - {line}\n"),
        &[("listen", "[80]"), ("routes", "[{path: /, respond: {}}]")],
        line,
    )
}

fn complete(mut text: String, needed: &[(&str, &str)], line: &str) -> String {
    for (key, value) in needed.iter().filter(|(key, _)| !line.starts_with(key)) {
        text.push_str(&format!("    {key}: {value}\n"));
    }
    text
}

#[track_caller]
fn check_file(cases: &str) {
    for case in cases.split("\n\n") {
        let parts = case
            .trim_start()
            .split_once('\n')
            .and_then(|(context, rest)| rest.split_once("\n!").map(|(text, expect)| (context, text, expect)));
        let Some((context, text, expect)) = parts else { panic!("not a case: {case}") };
        let text = match context {
            "@whole" => format!("{text}\n"),
            "@vrrp" => in_vrrp(text),
            "@upstream" => in_upstream(text),
            "@server" => in_server(text),
            other => panic!("unknown context {other}"),
        };
        check(&text, &format!("!{expect}"));
    }
}

#[test]
fn the_text_itself() {
    check_file(include_str!("config_problems/text.txt"));
}

#[test]
fn keys_and_kinds_of_values() {
    check_file(include_str!("config_problems/values.txt"));
}

#[test]
fn the_environment() {
    check_file(include_str!("config_problems/environment.txt"));
}

#[test]
fn virtual_routers() {
    check_file(include_str!("config_problems/vrrp.txt"));
}

#[test]
fn upstreams() {
    check_file(include_str!("config_problems/upstreams.txt"));
}

#[test]
fn servers() {
    check_file(include_str!("config_problems/servers.txt"));
}

const GOOD: &str = "vrrp: {web: {vrid: 51, virtual_addresses: [172.20.128.4]}}\n";

#[test]
fn any_way_to_write_yaml_or_json_will_do() {
    for text in [
        GOOD,
        "{\"vrrp\": {\"web\": {\"vrid\": 51, \"virtual_addresses\": [\"172.20.128.4\"]}}}",
        "{\n\t\"vrrp\": {\n\t\t\"web\": {\n\t\t\t\"vrid\": 51,\n\t\t\t\"virtual_addresses\": [\n\t\t\t\t\"172.20.128.4\"\n\t\t\t]\n\t\t}\n\t}\n}\n",
        "\u{feff}vrrp: {web: {vrid: 51, virtual_addresses: [172.20.128.4]}}\n",
        "---\nvrrp: {web: {vrid: 51, virtual_addresses: [172.20.128.4]}}\n...\n",
        "%YAML 1.2\n---\nvrrp: {web: {vrid: 51, virtual_addresses: [172.20.128.4]}}\n",
        "vrrp:\r\n  web:\r\n    vrid: 51\r\n    virtual_addresses: [172.20.128.4]\r\n",
        "vrrp:\n  a: {vrid: 1, virtual_addresses: [10.0.0.1], peers: &p [m, n]}\n  b: {vrid: 2, virtual_addresses: [10.0.0.2], peers: *p}\n",
    ] {
        check(text, "! none");
    }
}

#[test]
fn texts_that_do_not_fit_into_a_table() {
    let idle = "= add servers to serve pages or to forward, and vrrp to hold an address with other nodes";
    check("", &format!("! 1:1 the document is empty\n{idle}"));
    check("# nothing\n", &format!("! 1:1 the document is empty\n{idle}"));
    check(
        "vrrp:\n\tweb: {}\n",
        "! 2:2 a tab indents this line\n= indent with spaces; YAML does not allow tabs",
    );
}

#[test]
fn every_list_has_a_bound() {
    let many = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<String>();
    check(
        &"#".repeat((1 << 20) + 1),
        "! 1:1 the document has 1048577 bytes, more than 1048576\n= is this the right file?",
    );
    check(
        &format!("a: [{}]\n", "x,".repeat(60_000)),
        "! 1:100005 more than 50000 values\n= use fewer aliases",
    );
    let addresses = many(256, &|n| format!("10.0.{}.{},", n / 200, n % 200 + 1));
    check(
        &in_vrrp(&format!("virtual_addresses: [{addresses}]")),
        "! 3:24 more than 255 virtual addresses do not fit into a packet\n= divide them between several virtual routers",
    );
    let routers = many(256, &|n| format!("  i{n}: {{vrid: 1, virtual_addresses: [10.0.0.1]}}\n"));
    check(
        &format!("vrrp:\n{routers}"),
        "! 257:3 more than 255 virtual routers\n= put several addresses into one virtual router",
    );
    let text = many(200, &|n| format!("k{n}: 1\n"));
    assert_eq!(problems(&text).len(), 100, "the list of problems has a bound too");
}
