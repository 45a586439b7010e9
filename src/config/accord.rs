//! Edits that two nodes can take only together.

use super::{AuthHmac, Transport, VrrpInstance, VrrpVersion};

impl VrrpInstance {
    /// Whether the adverts of a node that has taken this edit count at one that has not, and the other way round. Else both
    /// would be master until the second one has taken it.
    fn understands(&self, before: &Self) -> bool {
        let is_same = |what: fn(&Self) -> bool| what(self) == what(before);
        let is_same_router =
            (self.vrid, self.version, self.family()) == (before.vrid, before.version, before.family());
        // Version 2 demands more than version 3.
        let is_same_group = self.version == VrrpVersion::V3
            || (self.advert_interval == before.advert_interval
                && self.addresses().eq(before.addresses())
                && self.password == before.password);
        is_same_router
            && is_same_group
            && is_same(|i| matches!(i.transport, Transport::Multicast))
            // Of several keys any counts.
            && is_same(|i| matches!(i.auth_hmac, AuthHmac::Keys(_)))
    }
}

/// Of the virtual routers that there are before and after it.
pub fn can_follow(before: &[VrrpInstance], after: &[VrrpInstance]) -> bool {
    after.iter().all(|new| before.iter().filter(|old| old.name == new.name).all(|old| new.understands(old)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};

    fn routers(web: &str) -> Vec<VrrpInstance> {
        let text = format!(
            "node: n\nvrrp: {{web: {{{web}}}, other: {{vrid: 9, virtual_addresses: [10.0.0.9/24]}}}}\n"
        );
        let source = Source { name: "vipgate.yaml".into(), folder: "/".into(), text };
        load(&source, &|_| None).unwrap().config.vrrp
    }

    #[test]
    fn what_adverts_have_to_agree_in_is_taken_together() {
        let three = "vrid: 51, virtual_addresses: [10.0.0.4/24], peers: [10.0.0.2, 10.0.0.3]";
        let two = "vrid: 51, version: 2, virtual_addresses: [10.0.0.4/24], peers: [10.0.0.2, 10.0.0.3]";
        let table = [
            (three, "51", "51", true),
            (three, "vrid: 51", "vrid: 52", false),
            (three, "vrid: 51", "version: 2, vrid: 51", false),
            (three, ", peers: [10.0.0.2, 10.0.0.3]", "", false),
            (three, "10.0.0.3", "10.0.0.7", true),
            (three, "vrid: 51", "priority: 7, vrid: 51", true),
            (three, "10.0.0.4/24", "10.0.0.4/24, 10.0.0.5", true),
            (three, "vrid: 51", "advert_interval: 50ms, vrid: 51", true),
            (two, "10.0.0.4/24", "10.0.0.4/24, 10.0.0.5", false),
            (two, "vrid: 51", "advert_interval: 2s, vrid: 51", false),
            (two, "vrid: 51", "authentication: {password: secret}, vrid: 51", false),
            (two, "vrid: 51", "preempt: false, vrid: 51", true),
        ];
        for (text, old, new, expect) in table {
            let (before, after) = (routers(text), routers(&text.replace(old, new)));
            assert_eq!(can_follow(&before, &after), expect, "{text}: {new}");
            assert_eq!(can_follow(&after, &before), expect, "{text}: {new}, taken back");
        }
        assert!(can_follow(&[], &routers(three)), "a new one");
    }
}
