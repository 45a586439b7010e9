//! The role `config`: reads one configuration for PID 1, says what it found, and ends.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use super::config_file;
use super::link::Link;
use crate::link::loading::{FromLoader, ToLoader};

pub(super) fn run(link: OwnedFd) -> ExitCode {
    let answered = tokio::runtime::Builder::new_current_thread().enable_io().build().and_then(|runtime| {
        runtime.block_on(async {
            let mut link = Link::<FromLoader, ToLoader>::from_fd(link)?;
            match link.receive().await? {
                Some((document, _)) => link.send(&load(document), None).await,
                None => Ok(()),
            }
        })
    });
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the link to PID 1 fails: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(document: ToLoader) -> FromLoader {
    let variable = |name: &str| std::env::var(name).ok();
    match config_file::load_bytes(&document.path, document.bytes, &variable) {
        Ok(loaded) => FromLoader::Accepted {
            config: Box::new(loaded.config),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        },
        Err(refusal) => FromLoader::Refused { problems: refusal.to_string() },
    }
}
