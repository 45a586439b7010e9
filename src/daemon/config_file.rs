//! Reads a config file from the disk and loads it. Waits for nothing, watches nothing.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::{Loaded, Problems, Source, built_in, load_with};
use crate::os::{host, snapshot};

/// Why there is no config.
#[derive(Debug)]
pub enum Refusal {
    /// The file could not be read at all.
    Unreadable {
        path: PathBuf,
        reason: String,
        remedy: &'static str,
        is_missing: bool,
    },
    Wrong(Problems),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason, remedy, .. } => {
                write!(f, "{}: error: {reason}\n  = help: {remedy}", path.display())
            }
            Self::Wrong(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// `path` is a file, or a directory with a `vipgate.yaml`. `environment` answers for `${NAME}`.
pub fn load_file(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Refusal> {
    let snapshot = snapshot::read(path).map_err(|error| unreadable(path, &error))?;
    load_bytes(&snapshot.path, snapshot.bytes, environment)
}

/// The document of a node that has no file, if `environment` asks for one.
pub fn load_built_in(environment: &dyn Fn(&str) -> Option<String>) -> Option<Result<Loaded, Refusal>> {
    let bytes = built_in::document(environment)?.into_bytes();
    Some(load_bytes(Path::new(built_in::NAME), bytes, environment))
}

/// The same for bytes that were read from `path`. Where `environment` does not know HOSTNAME (which shells rarely
/// export), the kernel is asked.
pub fn load_bytes(
    path: &Path,
    bytes: Vec<u8>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Refusal> {
    let environment =
        |name: &str| environment(name).or_else(|| (name == "HOSTNAME").then(host::name).flatten());
    let absolute = std::path::absolute(path).map_err(|error| unreadable(path, &error))?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let source = Source::from_bytes(path.display().to_string(), folder, bytes).map_err(Refusal::Wrong)?;
    if path == Path::new(built_in::NAME) {
        let variables = |name: &str| built_in::variable(name, &environment);
        return load_with(&source, &variables, Some(&read)).map_err(Refusal::Wrong);
    }
    load_with(&source, &environment, Some(&read)).map_err(Refusal::Wrong)
}

/// What the configuration names beside the pages, all of it short.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    snapshot::read_file(path, snapshot::MAX_FILE)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Refusal {
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            "mount the folder that holds vipgate.yaml at /etc/vipgate, or name another file; without any, a node \
             needs VIPGATE_UPSTREAM=app:80 in its environment"
        }
        ErrorKind::PermissionDenied => "let this user read the file and enter its folder",
        _ => "name a file with the configuration",
    };
    Refusal::Unreadable {
        path: snapshot::file_of(path),
        reason: format!("cannot be read: {error}"),
        remedy,
        is_missing: error.kind() == ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_be_used_is_said_and_never_shown() {
        let folder = std::env::temp_dir().join(format!("vipgate-key-file-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("folder")).unwrap();
        let secret = "secret".repeat(6);
        std::fs::write(folder.join("good"), &secret).unwrap();
        std::fs::write(folder.join("short"), format!("{secret}\nsecret")).unwrap();
        std::fs::write(folder.join("empty"), "\n").unwrap();
        std::fs::write(folder.join("long"), " ".repeat(5_000)).unwrap();
        let document = |file: &str| {
            let routes = "[{path: /, respond: {}}]";
            let text = format!("link:\n  key_file: {file}\nservers: [{{listen: [80], routes: {routes}}}]\n");
            load_bytes(&folder.join("vipgate.yaml"), text.into_bytes(), &|_| None)
        };
        assert_eq!(document("good").unwrap().warnings, []);
        let [warning] = document("missing").unwrap().warnings.try_into().unwrap();
        assert!(warning.to_string().contains("missing: the link to the peers is off"), "{warning}");
        for (file, expect) in [
            ("short", "key 2 has 6 bytes, and needs at least 32"),
            ("empty", "there is no key in it"),
            ("long", "it is longer than 4096 bytes"),
            ("folder", "cannot be read: is not a regular file"),
        ] {
            let text = document(file).unwrap_err().to_string();
            assert!(text.contains("vipgate.yaml:2:13: error: "), "{text}");
            assert!(text.contains(expect) && !text.contains("secret"), "{text}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_is_found_read_and_named() {
        let folder = std::env::temp_dir().join(format!("vipgate-config-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("vipgate.yaml");
        let text = "servers: [{listen: [80], routes: [{path: /, files: {root: html}}]}]\n";
        let table: [(&[u8], &str); 4] = [
            (text.as_bytes(), ""),
            (b"servers: [}\n", "vipgate.yaml:1:10: error: this '[' is closed by '}'"),
            (b"node: a\nserv\xff: b\n", "vipgate.yaml:2:5: error: the file is not UTF-8 text"),
            (b"\xff\xfen\0o\0", "vipgate.yaml:1:1: error: the file is not UTF-8 text"),
        ];
        for (bytes, expect) in table {
            std::fs::write(&file, bytes).unwrap();
            for path in [&folder, &file] {
                match load_file(path, &|_| None) {
                    Ok(loaded) => {
                        assert_eq!(expect, "");
                        let json = serde_json::to_string(&loaded.config).unwrap();
                        assert!(json.contains(folder.join("html").to_str().unwrap()), "{json}");
                        assert!(!loaded.config.node.is_empty());
                    }
                    Err(refusal) => {
                        let text = refusal.to_string();
                        assert!(!expect.is_empty() && text.contains(expect), "{text}");
                    }
                }
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let gone = load_file(&file, &|_| None).unwrap_err().to_string();
        assert!(gone.contains("cannot be read: No such file"), "{gone}");
    }
}
