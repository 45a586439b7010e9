//! Config documents and what becomes of them: the `Config`, or each problem with its place and its remedy. Pure: no
//! file is read.

use std::io;
use std::path::{Path, PathBuf};

use vipgate::config::{Config, Loaded, Problems, Severity, Source, load, load_with};

fn environment(name: &str) -> Option<String> {
    match name {
        "HOSTNAME" => Some("host".into()),
        "VIPGATE_NODE" => Some("master".into()),
        "VIPGATE_PRIORITY" => Some("150".into()),
        "SECRET" => Some("far too long a secret".into()),
        "EMPTY" => Some(String::new()),
        "INJECTION" => Some("1\nvrrp: {}\nx: [".into()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Loaded, Problems> {
    let source =
        Source { name: "vipgate.yaml".into(), folder: PathBuf::from("/etc/vipgate"), text: text.to_owned() };
    load(&source, &environment)
}

fn config(text: &str) -> Config {
    match read(text) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{text}\n{problems}"),
    }
}

/// Each problem as `line:column what | remedy`.
fn problems(text: &str) -> Vec<String> {
    let list = match read(text) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.list,
    };
    list.iter()
        .map(|p| {
            let mark = if p.severity == Severity::Warning { "warning: " } else { "" };
            format!("{mark}{}:{} {} | {}", p.line, p.column, p.what, p.remedy)
        })
        .collect()
}

#[test]
fn a_link_key_of_the_environment_is_judged_and_never_shown() {
    let text = "node: a\nservers: [{listen: [80], routes: [{path: /, respond: {}}]}]\n";
    let source = Source { name: "vipgate.yaml".into(), folder: "/".into(), text: text.into() };
    let load = |key: &str| {
        let key = key.to_owned();
        load(&source, &move |name| (name == "VIPGATE_LINK_KEY").then(|| key.clone()))
    };
    assert_eq!(load("").unwrap().warnings, []);
    let secret = "secret".repeat(6);
    let loaded = load(&secret).unwrap();
    assert!(!format!("{loaded:?}").contains("secret"), "a configuration holds no key");
    let said = load(&format!("{secret} secret")).unwrap_err().to_string();
    assert!(said.contains("the variable VIPGATE_LINK_KEY: key 2 has 6 bytes"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn the_whole_format_is_read() {
    let text = r#"
node: ${VIPGATE_NODE:-}
log: {level: debug, format: json}
access_log: "$$remote_addr $$status"
admin: {listen: 9127}
workers: 2
drain_timeout: 8s
email:
  smtp_server: mail.example.org
  smtp_tls: starttls
  notification_email: [ops@example.org]
  notification_email_from: one@example.org
  smtp_helo_name: one
  smtp_connect_timeout: 9s
  smtp_user: me
  smtp_password: s3cret
  ca_file: ca.pem
webhooks:
  - url: https://hooks.example.org:8443/a?b=c
    headers: {Authorization: Bearer x}
    timeout: 2s
    tries: 3
    ca_file: ca.pem
resolver: {servers: [127.0.0.11, "10.0.0.2:5353"], valid: 3s, timeout: 1s}
link: {port: 9113, key_file: keys/link, drill: true}
vrrp:
  web:
    version: 3
    vrid: 51
    priority: ${VIPGATE_PRIORITY:-100}
    advert_interval: 100ms
    preempt: true
    preempt_delay: 5s
    virtual_addresses: [172.20.128.4]
    subnet: 172.20.0.0/16
    interface: eth0
    peers: [master, 172.20.128.3]
    auth_hmac:
      keys: [{id: 1, key_file: keys/old}, {id: 7, key_file: /keys/new}]
      active_key: 7
      mode: permissive
    track:
      - {interface: eth1}
      - {file: load, weight: -2, interval: 100ms}
      - {http: 8080, uri: /up, host: a, weight: 20, timeout: 300ms, rise: 2, fall: 3, init_fail: true}
      - {tcp: "[::1]:81"}
      - {upstream: vip, weight: -5}
    lease: 2s
    notify_master: [/hooks/m, -v]
    notify_backup: hook
    notify: [/hooks/n]
    notify_timeout: 5s
    smtp_alert: true
upstreams:
  vip:
    servers:
      - 172.20.128.5:80
      - {address: "app:80", weight: 5, backup: true, max_conns: 7, max_fails: 3, fail_timeout: 30s}
      - {address: "old:80", down: true}
    balance: least_conn
    next_upstream: [error, invalid_header, http_503, non_idempotent]
    next_upstream_tries: 2
    next_upstream_timeout: 9s
    check: {type: http, method: HEAD, uri: /up, host: example.org, inter: 1m30s, timeout: 1s, rise: 2, fall: 3}
    retries: 3
    redispatch: false
    retry_on: [conn_failure, empty_response, response_timeout]
    timeouts: {connect: 60s, first_byte: 300ms, read: 60s, send: 60s}
    keepalive: 32
    keepalive_requests: 10
    keepalive_timeout: 5s
servers:
  - listen: ["0.0.0.0:80", 8080]
    server_names: [Example.org]
    add_headers: {X-Served-By: "${VIPGATE_NODE}"}
    error_pages: [{status: [502, 504], file: errors/50x.html}]
    client_header_timeout: 10s
    keepalive_timeout: 0s
    keepalive_requests: 5
    client_body_timeout: 11s
    send_timeout: 12s
    client_max_body_size: 8k
    routes:
      - path: /
        files: {root: "html/${VIPGATE_NODE}/", index: index.html}
      - path: /api/
        proxy:
          upstream: vip
          uri: /v1/
          set_headers: {Host: $$proxy_host, X-Id: "$${request_id}-${VIPGATE_NODE}"}
          hide_headers: [X-Powered-By]
          forwarded: true
          via: true
        add_headers: {X-Upstream: $$upstream_addr}
        client_max_body_size: 0
        access_log: false
      - exact: /node
        respond: {status: 200, type: application/json, body: '{"node": "${VIPGATE_NODE}"}'}
"#;
    let got = serde_json::to_value(config(text)).expect("a config is JSON");
    let expect = serde_json::json!({
        "node": "master",
        "log": {"level": "debug", "format": "json"},
        "access_log": {"text": "$remote_addr $status"},
        "admin": {"listen": "127.0.0.1:9127"},
        "workers": 2,
        "drain_timeout": {"secs": 8, "nanos": 0},
        "email": {
            "host": "mail.example.org", "port": 587, "tls": "starttls", "to": ["ops@example.org"],
            "from": "one@example.org", "helo_name": "one", "timeout": {"secs": 9, "nanos": 0},
            "credentials": ["me", "s3cret"], "ca_file": "/etc/vipgate/ca.pem",
        },
        "webhooks": [{
            "tls": true, "host": "hooks.example.org", "port": 8443, "target": "/a?b=c",
            "headers": [["Authorization", "Bearer x"]], "timeout": {"secs": 2, "nanos": 0}, "tries": 3,
            "ca_file": "/etc/vipgate/ca.pem",
        }],
        "resolver": {
            "servers": ["127.0.0.11:53", "10.0.0.2:5353"],
            "valid": {"secs": 3, "nanos": 0}, "timeout": {"secs": 1, "nanos": 0},
        },
        "link": {"port": 9113, "key_file": "/etc/vipgate/keys/link", "drill": true},
        "vrrp": [{
            "name": "web", "version": "3", "vrid": 51, "priority": 150, "advert_interval": 10, "preempt": true,
            "preempt_delay": {"secs": 5, "nanos": 0},
            "virtual_addresses": ["172.20.128.4/32"], "subnet": "172.20.0.0/16", "interface": "eth0",
            "transport": {"unicast": {"peers": [{"name": "master"}, {"address": "172.20.128.3"}]}},
            "password": null,
            "auth_hmac": {"keys": {
                "keys": [{"id": 7, "file": "/keys/new"}, {"id": 1, "file": "/etc/vipgate/keys/old"}],
                "anti_replay": "time", "time_window": 5, "mode": "permissive",
            }},
            "track": [
                {"what": {"interface": "eth1"}, "weight": 0},
                {
                    "what": {"file": {"path": "/etc/vipgate/load", "interval": {"secs": 0, "nanos": 100_000_000}}},
                    "weight": -2,
                },
                {
                    "what": {"check": {
                        "kind": {"http": {"address": "127.0.0.1:8080", "uri": "/up", "host": "a"}},
                        "interval": {"secs": 1, "nanos": 0}, "timeout": {"secs": 0, "nanos": 300_000_000},
                        "rise": 2, "fall": 3, "init_fail": true,
                    }},
                    "weight": 20,
                },
                {
                    "what": {"check": {
                        "kind": {"tcp": "[::1]:81"}, "interval": {"secs": 1, "nanos": 0},
                        "timeout": {"secs": 1, "nanos": 0}, "rise": 1, "fall": 1, "init_fail": false,
                    }},
                    "weight": 0,
                },
                {"what": {"upstream": "vip"}, "weight": -5},
            ],
            "lease": {"secs": 2, "nanos": 0},
            "hooks": {"master": ["/hooks/m", "-v"], "backup": ["hook"], "fault": null, "stop": null,
                "every": ["/hooks/n"], "timeout": {"secs": 5, "nanos": 0}},
            "smtp_alert": true,
        }],
        "sync_groups": [],
        "servers": [{
            "listen": ["0.0.0.0:80", "0.0.0.0:8080"],
            "server_names": ["example.org"],
            "add_headers": [["X-Served-By", "master"]],
            "error_pages": [{"statuses": [502, 504], "file": "/etc/vipgate/errors/50x.html"}],
            "client": {
                "client_header_timeout": {"secs": 10, "nanos": 0}, "keepalive_timeout": {"secs": 0, "nanos": 0},
                "keepalive_requests": 5, "client_body_timeout": {"secs": 11, "nanos": 0},
                "send_timeout": {"secs": 12, "nanos": 0}, "client_max_body_size": 8192,
            },
            "routes": [
                {"pattern": {"prefix": "/"}, "action": {"files": {"root": "/etc/vipgate/html/master/", "index": "index.html"}},
                 "add_headers": [], "client_max_body_size": 8192, "access_log": true},
                {"pattern": {"prefix": "/api/"}, "action": {"proxy": {
                    "upstream": "vip", "uri": "/v1/", "forwarded": true, "via": true,
                    "set_headers": [["Host", "$proxy_host"], ["X-Id", "${request_id}-master"]],
                    "hide_headers": ["X-Powered-By"]}},
                 "add_headers": [["X-Upstream", "$upstream_addr"]], "client_max_body_size": null, "access_log": false},
                {"pattern": {"exact": "/node"}, "action": {"respond": {
                    "status": 200, "content_type": "application/json", "body": r#"{"node": "master"}"#}},
                 "add_headers": [], "client_max_body_size": 8192, "access_log": true},
            ],
        }],
        "upstreams": [{
            "name": "vip",
            "balance": "least_conn",
            "servers": [
                {"host": {"address": "172.20.128.5"}, "port": 80, "weight": 1, "backup": false, "down": false,
                 "max_conns": 0, "max_fails": 1, "fail_timeout": {"secs": 10, "nanos": 0}},
                {"host": {"name": "app"}, "port": 80, "weight": 5, "backup": true, "down": false,
                 "max_conns": 7, "max_fails": 3, "fail_timeout": {"secs": 30, "nanos": 0}},
                {"host": {"name": "old"}, "port": 80, "weight": 1, "backup": false, "down": true,
                 "max_conns": 0, "max_fails": 1, "fail_timeout": {"secs": 10, "nanos": 0}},
            ],
            "next_upstream": {
                "error": true, "timeout": false, "invalid_header": true, "statuses": [503], "non_idempotent": true,
                "tries": 2, "timeout_after": {"secs": 9, "nanos": 0},
            },
            "check": {
                "kind": {"http": {"method": "HEAD", "uri": "/up", "host": "example.org"}},
                "inter": {"secs": 90, "nanos": 0}, "timeout": {"secs": 1, "nanos": 0}, "rise": 2, "fall": 3,
            },
            "retries": 3, "redispatch": false,
            "retry_on": {"conn_failure": true, "empty_response": true, "response_timeout": true},
            "connect_timeout": {"secs": 60, "nanos": 0},
            "first_byte_timeout": {"secs": 0, "nanos": 300_000_000},
            "read_timeout": {"secs": 60, "nanos": 0}, "send_timeout": {"secs": 60, "nanos": 0},
            "keepalive": 32, "keepalive_requests": 10, "keepalive_timeout": {"secs": 5, "nanos": 0},
        }],
    });
    assert_eq!(got, expect);
    assert_eq!(problems(text), Vec::<String>::new());
}

#[test]
fn the_master_speaks_as_often_as_its_profile_says_unless_an_interval_is_written() {
    // Without a key of the link, and with one.
    for (keys, alone, linked) in [
        ("", 100, 20),
        ("profile: normal", 100, 20),
        ("profile: fast", 10, 10),
        ("profile: fast, advert_interval: 500ms", 500, 500),
        ("version: 2", 1000, 1000),
        ("version: 2, advert_interval: 3s", 3000, 3000),
    ] {
        let vrrp = format!("vrrp: {{a: {{vrid: 1, virtual_addresses: [10.0.0.1], {keys}}}}}");
        let key = "0123456789abcdef0123456789abcdef";
        let file = |path: &Path| match path.ends_with("key") {
            true => Ok(key.into()),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        let variable = |name: &str| (name == "VIPGATE_LINK_KEY").then(|| key.to_owned());
        let nothing = |_: &str| None;
        let link = |file: &str| format!("{vrrp}\nlink: {{key_file: {file}}}");
        let load = |text: &str, environment: &dyn Fn(&str) -> Option<String>| {
            let environment =
                |name: &str| if name == "HOSTNAME" { Some("a".to_owned()) } else { environment(name) };
            let source = Source { name: "a.yaml".into(), folder: "/etc/vipgate".into(), text: text.into() };
            let loaded = load_with(&source, &environment, Some(&file)).unwrap();
            loaded.config.vrrp[0].advert_interval.duration().as_millis()
        };
        assert_eq!(load(&vrrp, &nothing), alone, "{keys}");
        assert_eq!(load(&link("missing"), &nothing), alone, "{keys}: the link is off");
        assert_eq!(load(&link("key"), &nothing), linked, "{keys}: a file");
        assert_eq!(load(&vrrp, &variable), linked, "{keys}: the variable");
    }
}

#[test]
fn a_virtual_router_of_ipv6_has_a_link_local_address() {
    let addresses = |vrid: u8, list: &str| -> Vec<String> {
        let config =
            config(&format!("vrrp: {{web: {{vrid: {vrid}, interface: eth0, virtual_addresses: [{list}]}}}}"));
        config.vrrp[0].virtual_addresses.iter().map(ToString::to_string).collect()
    };
    // The vrid in hexadecimal.
    for (vrid, list, expect) in [
        (51, "2001:db8::4/64, fd00::4", &["fe80::112:33/128", "2001:db8::4/64", "fd00::4/128"][..]),
        (255, "2001:db8::4", &["fe80::112:ff/128", "2001:db8::4/128"]),
        (51, "fe80::4, 2001:db8::4", &["fe80::4/128", "2001:db8::4/128"]),
        (51, "fe80::4", &["fe80::4/128"]),
        (51, "10.0.0.4/24", &["10.0.0.4/24"]),
    ] {
        assert_eq!(addresses(vrid, list), expect, "{vrid} {list}");
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let text = "vrrp:
  web:
    prority: 3
    vrid: 0
    virtual_addresses: [172.20.128.4]
    subnet: 10.0.0.0/8
servers:
  - listen: [80]
    routes: [{path: /, proxy: {upstream: vip}}]
";
    let expect = "vipgate.yaml:3:5: error: unknown key \"prority\"
  |
3 |     prority: 3
  |     ^^^^^^^
  = help: did you mean \"priority\"?

vipgate.yaml:4:11: error: virtual router id must be between 1 and 255 (RFC 9568 section 6.1), not 0
  |
4 |     vrid: 0
  |           ^
  = help: write a whole number from 1 to 255

vipgate.yaml:5:25: error: the virtual address 172.20.128.4 is outside of the subnet 10.0.0.0/8
  |
5 |     virtual_addresses: [172.20.128.4]
  |                         ^^^^^^^^^^^^
  = help: correct one of the two; nodes of the subnet could not reach it

vipgate.yaml:9:42: error: there is no upstream \"vip\"
  |
9 |     routes: [{path: /, proxy: {upstream: vip}}]
  |                                          ^^^
  = help: add upstreams: {vip: {servers: [..]}}";
    assert_eq!(read(text).map(|_| ()).unwrap_err().to_string(), expect);
}
