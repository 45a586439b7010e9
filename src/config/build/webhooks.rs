//! Webhooks: names of header fields, and the file of authorities.

use super::Surroundings;
use super::servers::absolute;
use crate::config::model::{Secret, Webhook};
use crate::config::names;
use crate::config::report::{Report, Reported};
use crate::config::values::FilePath;
use crate::config::webhook::{WebhookEntry, Webhooks};

/// Each change of state is posted to every one of them.
const MAX_WEBHOOKS: usize = 16;

pub(in crate::config) fn webhooks(
    entries: Webhooks,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Vec<Webhook>, Reported> {
    if let Some(slot) = entries.0.get(MAX_WEBHOOKS) {
        let what = format!("more than {MAX_WEBHOOKS} webhooks");
        return Err(report.error(slot.at, what, "let one of them tell the others"));
    }
    let built: Vec<_> =
        entries.0.into_iter().map(|slot| webhook(slot.take()?, surroundings, report)).collect();
    built.into_iter().collect()
}

fn webhook(
    entry: WebhookEntry,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Webhook, Reported> {
    let ca_file = match entry.ca_file.some() {
        Some(FilePath(path)) => Some(absolute(surroundings, path, entry.ca_file.at, report)),
        None => None,
    };
    let headers: Vec<_> = entry
        .headers
        .take()?
        .0
        .into_iter()
        .map(|named| {
            let name = names::header_name(&named.name)
                .map_err(|fault| report.error(named.at, fault.what, fault.remedy))?;
            Ok((name, Secret(named.slot.take()?.0)))
        })
        .collect();
    let url = entry.url.take()?;
    entry.ca_file.take()?;
    Ok(Webhook {
        tls: url.tls,
        host: url.host,
        port: url.port,
        target: Secret(url.target),
        headers: headers.into_iter().collect::<Result<_, _>>()?,
        timeout: entry.timeout.take()?.0,
        tries: entry.tries.take()?.0,
        ca_file: ca_file.transpose()?,
    })
}
