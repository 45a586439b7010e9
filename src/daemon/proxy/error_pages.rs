//! The error pages of a configuration, read when it is prepared: one that cannot be had refuses the configuration, and
//! no request waits for a disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use nix::libc::{O_NOCTTY, O_NONBLOCK};

use crate::config::Config;
use crate::gateway::ErrorPages;

/// Bytes of one page; browsers show even a plain text much later than that.
const PAGE_MAX: u64 = 1 << 20;
/// Bytes of all pages, which stay in memory.
const PAGES_MAX: usize = 16 << 20;

/// Of each server, in the order of `config`. The error names the file.
pub(super) fn read(config: &Config) -> Result<Vec<ErrorPages>, String> {
    let mut texts: HashMap<&Path, Arc<[u8]>> = HashMap::new();
    let mut sum = 0;
    let mut servers = Vec::with_capacity(config.servers.len());
    for server in &config.servers {
        let mut pages = ErrorPages::default();
        for page in &server.error_pages {
            let text = match texts.get(page.file.as_path()) {
                Some(text) => Arc::clone(text),
                None => {
                    let text: Arc<[u8]> = file(&page.file)
                        .map_err(|error| {
                            format!(
                                "the error page {} cannot be read: {error}; put it where the proxy can read it, or \
                                 remove it from error_pages",
                                page.file.display()
                            )
                        })?
                        .into();
                    sum += text.len();
                    if sum > PAGES_MAX {
                        return Err(format!(
                            "the error pages, up to {}, have more than {PAGES_MAX} bytes; write shorter ones",
                            page.file.display()
                        ));
                    }
                    texts.insert(&page.file, Arc::clone(&text));
                    text
                }
            };
            for status in &page.statuses {
                pages.insert(*status, Arc::clone(&text));
            }
        }
        servers.push(pages);
    }
    Ok(servers)
}

/// Never waits for a pipe's other end.
fn file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = vec![];
    if file.take(PAGE_MAX + 1).read_to_end(&mut text)? as u64 > PAGE_MAX {
        return Err(io::Error::other(format!("it has more than {PAGE_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ErrorPage, example};

    /// A folder that goes with its test.
    struct Folder(std::path::PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            // A folder that is left behind harms nobody.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn pages_are_read_or_the_configuration_is_refused() {
        let folder = Folder(std::env::temp_dir().join(format!("vipgate-pages-{}", std::process::id())));
        let path = |name: &str| folder.0.join(name);
        std::fs::create_dir_all(path("folder")).unwrap();
        std::fs::write(path("50x.html"), "sorry").unwrap();
        std::fs::write(path("most.html"), vec![b'x'; PAGE_MAX as usize]).unwrap();
        std::fs::write(path("long.html"), vec![b'x'; PAGE_MAX as usize + 1]).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        type Pages<'a> = &'a [(&'a str, &'a [u16])];
        type Lengths<'a> = &'a [(u16, Option<usize>)];
        let table: [(Pages<'_>, Result<Lengths<'_>, &str>); 6] = [
            (&[], Ok(&[(502, None)])),
            (
                &[("50x.html", &[502, 504]), ("most.html", &[404])],
                Ok(&[(502, Some(5)), (504, Some(5)), (404, Some(PAGE_MAX as usize)), (500, None)]),
            ),
            (&[("50x.html", &[502]), ("none.html", &[404])], Err("none.html cannot be read: No such file")),
            (&[("long.html", &[502])], Err("long.html cannot be read: it has more than 1048576 bytes")),
            (&[("folder", &[502])], Err("folder cannot be read: it is no file")),
            (&[("pipe", &[502])], Err("pipe cannot be read: it is no file")),
        ];
        for (pages, expect) in table {
            let mut config = example();
            let page = |(name, statuses): &(&str, &[u16])| ErrorPage {
                statuses: statuses.to_vec(),
                file: path(name),
            };
            config.servers[0].error_pages = pages.iter().map(page).collect();
            config.servers.push(config.servers[0].clone());
            match (read(&config), expect) {
                (Ok(read), Ok(lengths)) => {
                    assert_eq!(read.len(), 2);
                    for (status, length) in lengths {
                        assert_eq!(read[1].page(*status).map(<[u8]>::len), *length, "{pages:?} {status}");
                    }
                }
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (read, expect) => panic!("{read:?} {expect:?}"),
            }
        }
        let mut config = example();
        let files = (0..=PAGES_MAX as u64 / PAGE_MAX).map(|n| {
            std::fs::copy(path("most.html"), path(&n.to_string())).unwrap();
            ErrorPage { statuses: vec![400 + n as u16], file: path(&n.to_string()) }
        });
        config.servers[0].error_pages = files.collect();
        assert!(read(&config).unwrap_err().contains("write shorter ones"));
    }
}
