//! The document of a node that finds no file: `VIPGATE_UPSTREAM` to forward to, on `VIPGATE_VIP` if there is one. The
//! environment is handed in.

/// How it is named where another one has a path.
pub const NAME: &str = "(built in, from the environment)";

const TEMPLATE: &str = include_str!("built_in.yaml");
/// Makes a node. An address alone does not: other documents read it from the environment too, and a node that misses
/// its mount must not hold an address where it has nothing to serve.
const ENOUGH: &str = "VIPGATE_UPSTREAM";
/// Several values each, between commas or spaces.
const LISTS: [&str; 3] = ["VIPGATE_PEERS", "VIPGATE_UPSTREAM", "VIPGATE_VIP"];
/// Of one list: who has more has a file to write.
const WORDS_MAX: usize = 64;

/// The document, if the environment asks for one. Its values stay where they are: it refers to them, so that none can
/// change its structure.
pub fn document(environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if words(ENOUGH, environment).is_empty() {
        return None;
    }
    let mut text = String::new();
    let mut wanted = vec![true];
    for line in TEMPLATE.lines() {
        let is_wanted = wanted.iter().all(|wanted| *wanted);
        match line.trim_start().strip_prefix("# with ") {
            Some(name) => wanted.push(!words(name, environment).is_empty()),
            None if line.trim_start() == "# end" => drop(wanted.pop()),
            None if is_wanted => write(line, environment, &mut text),
            None => (),
        }
    }
    Some(text)
}

fn write(line: &str, environment: &dyn Fn(&str) -> Option<String>, text: &mut String) {
    let list = LISTS.iter().find(|name| line.contains(&format!("{name}_N")));
    let lines = match list {
        None => vec![line.to_owned()],
        Some(name) => (1..=words(name, environment).len())
            .map(|n| line.replace(&format!("{name}_N"), &format!("{name}_{n}")))
            .collect(),
    };
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
}

/// What the document's variables stand for: those of the environment, and the words of its lists by their numbers.
pub fn variable(name: &str, environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let word = || {
        let (list, number) = name.rsplit_once('_')?;
        let place = number.parse::<usize>().ok()?.checked_sub(1)?;
        LISTS.contains(&list).then(|| words(list, environment).into_iter().nth(place))?
    };
    word().or_else(|| environment(name))
}

fn words(name: &str, environment: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let value = environment(name).unwrap_or_default();
    let words = value.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    words.take(WORDS_MAX).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problems, Source, Transport, load};

    /// The configuration for these variables beside HOSTNAME.
    fn built_in(variables: &[(&str, &str)]) -> Option<Result<Config, Problems>> {
        let environment = |name: &str| {
            let all = variables.iter().chain(&[("HOSTNAME", "host")]);
            all.into_iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        let text = document(&environment)?;
        let source = Source { name: NAME.into(), folder: "/".into(), text };
        Some(load(&source, &|name| variable(name, &environment)).map(|loaded| {
            assert_eq!(loaded.warnings, []);
            loaded.config
        }))
    }

    #[test]
    fn a_variable_makes_a_node() {
        assert!(built_in(&[]).is_none());
        assert!(built_in(&[("VIPGATE_UPSTREAM", " , "), ("VIPGATE_PEERS", "a")]).is_none());
        assert!(built_in(&[("VIPGATE_VIP", "172.20.128.4"), ("VIPGATE_NODE", "master")]).is_none());

        let config = built_in(&[("VIPGATE_UPSTREAM", "app:80")]).unwrap().unwrap();
        assert_eq!((config.node.as_str(), config.vrrp.len(), config.admin), ("host", 0, None));
        assert_eq!(config.servers[0].listen, ["0.0.0.0:80".parse().unwrap()]);
        assert_eq!(config.upstreams[0].servers.len(), 1);

        let vip = [("VIPGATE_UPSTREAM", "app:80"), ("VIPGATE_VIP", "172.20.128.4")];
        let config = built_in(&vip).unwrap().unwrap();
        assert_eq!((config.servers.len(), config.upstreams.len()), (1, 1));
        assert_eq!(config.vrrp[0].transport, Transport::Multicast);
        assert_eq!((config.vrrp[0].vrid.get(), config.vrrp[0].priority.get()), (51, 100));

        let all = [
            ("VIPGATE_NODE", "one"),
            ("VIPGATE_ADMIN", "0.0.0.0:9200"),
            ("VIPGATE_LISTEN", "8080"),
            ("VIPGATE_UPSTREAM", "app-1:80, app-2:81 192.0.2.1:82"),
            ("VIPGATE_VIP", "172.20.128.4,172.20.128.5/16"),
            ("VIPGATE_VRID", "7"),
            ("VIPGATE_PRIORITY", "200"),
            ("VIPGATE_PEERS", "172.20.128.2 backup"),
        ];
        let config = built_in(&all).unwrap().unwrap();
        assert_eq!((config.node.as_str(), config.servers[0].listen[0].port()), ("one", 8080));
        assert_eq!(config.admin.unwrap().listen, "0.0.0.0:9200".parse().unwrap());
        let ports: Vec<_> = config.upstreams[0].servers.iter().map(|s| s.port).collect();
        assert_eq!(ports, [80, 81, 82]);
        let router = &config.vrrp[0];
        assert_eq!((router.vrid.get(), router.priority.get(), router.addresses().count()), (7, 200, 2));
        assert!(matches!(&router.transport, Transport::Unicast { peers } if peers.len() == 2));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_variable() {
        for (variable, value, expect) in [
            ("VIPGATE_LISTEN", "http", "VIPGATE_LISTEN"),
            ("VIPGATE_UPSTREAM", "app", "VIPGATE_UPSTREAM_1"),
            ("VIPGATE_UPSTREAM", "a:80, app:http", "VIPGATE_UPSTREAM_2"),
            // Data, whatever it looks like.
            ("VIPGATE_UPSTREAM", "a:80\"]}#", "VIPGATE_UPSTREAM_1"),
            ("VIPGATE_VIP", "app", "VIPGATE_VIP_1"),
        ] {
            let variables = [(variable, value), (ENOUGH, "app:80")];
            let text = built_in(&variables).unwrap().unwrap_err().to_string();
            assert!(text.contains(NAME) && text.contains(expect), "{value}: {text}");
        }
    }
}
