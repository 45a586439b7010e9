//! Virtual routers that one node can play at once. No socket.

use crate::config::VrrpInstance;

/// What the loader cannot know: each virtual router has a fence of its own, named by its id.
pub(super) fn check(instances: &[VrrpInstance]) -> Result<(), String> {
    for (index, one) in instances.iter().enumerate() {
        for other in instances.iter().skip(index + 1) {
            if (one.family(), one.vrid) == (other.family(), other.vrid) {
                return Err(format!(
                    "{} and {} have the same vrid {} for {}: give one of them another",
                    one.name,
                    other.name,
                    one.vrid,
                    one.family()
                ));
            }
            if let Some(address) = one.addresses().find(|a| other.addresses().any(|b| b == *a)) {
                return Err(format!(
                    "{} and {} both have {address}: take it from one of them",
                    one.name, other.name
                ));
            }
        }
    }
    Ok(())
}
