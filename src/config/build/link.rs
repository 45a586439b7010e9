//! The link to the peers: its port, and whether its keys can be used.

use std::io;
use std::path::Path;

use crate::config::document::LinkEntry;
use crate::config::model::PeerLink;
use crate::config::report::{Report, Reported, Span};
use crate::peer::{KeyFault, Keys};

/// Holds the keys where there is no file with them.
pub const KEY_VARIABLE: &str = "VIPGATE_LINK_KEY";

/// Reads a file that the document names; the loader itself reads none.
pub type ReadFile<'a> = dyn Fn(&Path) -> io::Result<Vec<u8>> + 'a;

pub(in crate::config) fn link(
    entry: LinkEntry,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    read: Option<&ReadFile<'_>>,
    report: &mut Report<'_>,
) -> Result<PeerLink, Reported> {
    let (port_at, at) = (entry.port.at, entry.key_file.at);
    let (port, drill) = (entry.port.take(), entry.drill.take());
    let key_file = entry.key_file.take()?.map(|path| folder.join(path.0));
    if let Some(keys) = environment(KEY_VARIABLE).filter(|keys| !keys.trim().is_empty())
        && let Err(fault) = Keys::parse(keys.as_bytes())
    {
        report.error(Span::default(), format!("the variable {KEY_VARIABLE}: {fault}"), KeyFault::REMEDY);
    }
    if let (Some(path), Some(read)) = (&key_file, read) {
        check(path, read, at, report);
    }
    let port =
        u16::try_from(port?.0).map_err(|error| report.error(port_at, error.to_string(), "report this bug"));
    Ok(PeerLink { port: port?, key_file, drill: drill? })
}

/// Whether there is a key at this moment, so that the nodes can ask each other.
pub(in crate::config) fn has_key(
    link: &PeerLink,
    environment: &dyn Fn(&str) -> Option<String>,
    read: Option<&ReadFile<'_>>,
) -> bool {
    let in_file = |path: &Path| read.is_some_and(|read| read(path).is_ok());
    link.key_file.as_deref().is_some_and(in_file)
        || environment(KEY_VARIABLE).is_some_and(|keys| !keys.trim().is_empty())
}

/// A key that is missing is no obstacle: everything works without the link, though more slowly.
fn check(path: &Path, read: &ReadFile<'_>, at: Span, report: &mut Report<'_>) {
    let shown = path.display();
    match read(path).map(|bytes| Keys::parse(&bytes)) {
        Ok(Ok(_)) => {}
        Ok(Err(fault)) => drop(report.error(at, format!("{shown}: {fault}"), KeyFault::REMEDY)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("there is no {shown}: the link to the peers is off until there is");
            report.warn(at, what, KeyFault::REMEDY);
        }
        Err(error) => {
            let remedy = "let root read it without capabilities: it has to own the file, or everybody may read it, in a \
                          folder that others do not reach";
            report.error(at, format!("{shown} cannot be read: {error}"), remedy);
        }
    }
}
