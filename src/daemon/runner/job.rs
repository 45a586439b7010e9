//! What is done in a lane, once.

use std::sync::Arc;

use tracing::info;

use super::command::{self, End};
use super::mail::send;
use super::post::post;
use super::tls;
use crate::config::{Config, Email, Webhook};
use crate::link::Run;
use crate::notification::{hooks, webhook};
use crate::os::program;

/// Whose turn it is; what is in one lane never waits for another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Receiver {
    /// The programs of this virtual router.
    Hooks(String),
    /// By its label.
    Webhook(String),
    Email,
}

impl Receiver {
    /// What counts its tries.
    pub(super) fn counter(&self, succeeded: bool) -> &'static str {
        match (self, succeeded) {
            (Self::Hooks(_), true) => "hooks_succeeded",
            (Self::Hooks(_), false) => "hooks_failed",
            (Self::Webhook(_), true) => "webhooks_delivered",
            (Self::Webhook(_), false) => "webhook_tries_failed",
            (Self::Email, true) => "mails_sent",
            (Self::Email, false) => "mail_tries_failed",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Job {
    Hook { label: String, run: Run },
    Post { label: String, webhook: Arc<Webhook>, body: String },
    Mail { label: String, email: Arc<Email>, node: String, subject: String, body: String },
}

impl Job {
    /// Under this name it is counted once it is not tried again.
    pub(super) fn given_up(&self) -> &'static str {
        match self {
            Self::Hook { .. } => "hooks_given_up",
            Self::Post { .. } => "webhooks_given_up",
            Self::Mail { .. } => "mails_given_up",
        }
    }

    /// What the log calls it.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Hook { label, .. } | Self::Post { label, .. } | Self::Mail { label, .. } => label,
        }
    }
}

pub(super) async fn attempt(job: Job, end: End) -> Result<(), String> {
    match job {
        Job::Hook { label, run } => {
            let (end, _) = command::run(&run, end, |line| info!("{label}: {line}")).await;
            // Its arguments may be secrets.
            let program = run.argv.first().map(String::as_str).unwrap_or_default();
            if end.is_success() { Ok(()) } else { Err(format!("{program} {end}")) }
        }
        Job::Post { webhook, body, .. } => post(&webhook, body).await,
        Job::Mail { email, node, subject, body, .. } => send(&email, &node, &subject, &body).await,
    }
}

/// What cannot work as it is configured: programs and files that are not there.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let path = std::env::var_os("PATH");
    let programs = config
        .vrrp
        .iter()
        .flat_map(|i| hooks::programs(&i.hooks).map(|(key, program)| (&i.name, key, program)));
    let programs = programs.filter_map(|(instance, key, program)| {
        let error = program::find(program, path.as_deref()).err()?;
        Some(format!(
            "{instance}: {key} cannot run {program:?}: {error}; mount a static executable into the container, or \
             build the image with a base that has it (an image from scratch has no shell and no other program)"
        ))
    });
    let webhooks = config.webhooks.iter().enumerate().filter(|(_, webhook)| webhook.tls);
    let webhooks = webhooks.filter_map(|(index, webhook)| {
        let error = tls::client(webhook.ca_file.as_deref()).err()?;
        Some(format!("{}: ca_file: {error}", webhook::label(index + 1, webhook)))
    });
    programs.chain(webhooks).collect()
}
