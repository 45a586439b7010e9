//! What has to be there before a configuration can be worked by.

use crate::config::Config;
use crate::os::capability;

/// Why this process could not start a vrrp role that works; none is needed without virtual routers.
pub(super) fn missing_capabilities(config: &Config) -> Result<(), String> {
    if config.vrrp.is_empty() {
        return Ok(());
    }
    let missing = capability::missing_for_vrrp().map_err(|e| format!("cannot read the capabilities: {e}"))?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the configuration has virtual routers, and vipgate lacks {}: add cap_add: [NET_ADMIN, NET_RAW] to the \
         service, and remove user: if it has one (another user than root loses them)",
        missing.join(" and ")
    ))
}
