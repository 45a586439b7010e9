//! Why something that came over the link is not used: one reason, one counter. No policy.

/// Nothing else happens to what is refused; the connection that brought it ends, because what follows on it cannot be
/// trusted to be where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    #[error("the sender is no known peer")]
    Sender,
    #[error("not a greeting")]
    Greeting,
    #[error("no version of the link that both sides speak")]
    Version,
    #[error("signed with a key that this node does not have")]
    Key,
    #[error("the greeting did not come in time")]
    Late,
    #[error("a frame of an impossible length")]
    Length,
    #[error("not signed by the peer")]
    Forged,
    #[error("signed by the peer for another place in the stream")]
    Replayed,
    #[error("signed by the peer, and not a message")]
    Malformed,
    #[error("the stream ended inside a frame")]
    Truncated,
    #[error("this node itself")]
    Own,
    #[error("more connections than anybody needs")]
    Crowd,
}

impl Refusal {
    pub const ALL: [Self; 12] = [
        Self::Sender,
        Self::Greeting,
        Self::Version,
        Self::Key,
        Self::Late,
        Self::Length,
        Self::Forged,
        Self::Replayed,
        Self::Malformed,
        Self::Truncated,
        Self::Own,
        Self::Crowd,
    ];

    /// Under this name `status` and the metrics count it.
    pub const fn counter(self) -> &'static str {
        match self {
            Self::Sender => "link_drop_sender",
            Self::Greeting => "link_drop_greeting",
            Self::Version => "link_drop_version",
            Self::Key => "link_drop_key",
            Self::Late => "link_drop_late",
            Self::Length => "link_drop_length",
            Self::Forged => "link_drop_forged",
            Self::Replayed => "link_drop_replayed",
            Self::Malformed => "link_drop_malformed",
            Self::Truncated => "link_drop_truncated",
            Self::Own => "link_drop_own",
            Self::Crowd => "link_drop_crowd",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_counter_of_its_own() {
        let counters: BTreeSet<_> = Refusal::ALL.into_iter().map(Refusal::counter).collect();
        assert_eq!(counters.len(), Refusal::ALL.len());
    }
}
