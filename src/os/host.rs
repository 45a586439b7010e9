//! What this machine, or container, calls itself.

/// `None` where the name is not UTF-8.
pub fn name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
