//! Mails: recipients, and who may see a password.

use super::Surroundings;
use super::servers::absolute;
use crate::config::email::EmailEntry;
use crate::config::model::{Email, MailTls, Secret};
use crate::config::report::{Report, Reported};
use crate::config::values::FilePath;

/// One mail goes to all of them.
const MAX_RECIPIENTS: usize = 64;

pub(in crate::config) fn email(
    entry: EmailEntry,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Email, Reported> {
    let recipients = entry.notification_email.get().map_or(0, |list| list.0.len());
    if recipients == 0 || recipients > MAX_RECIPIENTS {
        let what = format!("mails have 1 to {MAX_RECIPIENTS} recipients, not {recipients}");
        report.error(entry.notification_email.at, what, "list the addresses, or that of a mailing list");
    }
    let tls = entry.smtp_tls.copied();
    match (entry.smtp_user.some(), entry.smtp_password.some()) {
        (None, Some(_)) => {
            report.error(entry.smtp_password.at, "a password without a user", "add smtp_user");
        }
        (Some(_), None) => {
            report.error(entry.smtp_user.at, "a user without a password", "add smtp_password");
        }
        (Some(_), Some(_)) if tls == Ok(MailTls::None) => {
            let what = "the password would be sent for everybody to read";
            report.error(entry.smtp_password.at, what, "add smtp_tls: starttls, or smtp_tls: tls");
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let ca_file = match entry.ca_file.some() {
        Some(FilePath(path)) => Some(absolute(surroundings, path, entry.ca_file.at, report)),
        None => None,
    };
    entry.ca_file.take()?;
    let (server, tls) = (entry.smtp_server.take()?, tls?);
    let usual = match tls {
        MailTls::None => 25,
        MailTls::StartTls => 587,
        MailTls::Tls => 465,
    };
    let credentials = entry.smtp_user.take()?.zip(entry.smtp_password.take()?);
    let to = entry.notification_email.take()?.take()?;
    Ok(Email {
        host: server.0,
        port: server.1.unwrap_or(usual),
        tls,
        to: to.into_iter().map(|address| address.0).collect(),
        from: entry.notification_email_from.take()?.0,
        helo_name: entry.smtp_helo_name.take()?.map(|name| name.0),
        timeout: entry.smtp_connect_timeout.take()?.0,
        credentials: credentials.map(|(user, password)| (user, Secret(password))),
        ca_file: ca_file.transpose()?,
    })
}
