//! Why a datagram or a frame is not used: one reason, one counter. No policy; the checks live beside the formats.

/// Every way in which something that arrived can be refused. Nothing else happens to it: it is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    #[error("the IPv4 header is cut short or broken")]
    IpHeader,
    #[error("our own advertisement came back")]
    Own,
    #[error("the sender is no configured peer")]
    Sender,
    #[error("sent to a multicast group by a unicast peer, or the other way round")]
    Destination,
    #[error("TTL is not 255 (RFC 9568 section 5.1.1.3)")]
    Ttl,
    #[error("another VRRP version (RFC 9568 section 5.2.1)")]
    Version,
    #[error("not an ADVERTISEMENT (RFC 9568 section 5.2.2)")]
    Type,
    #[error("its length is not what its address count says")]
    Length,
    #[error("checksum (RFC 9568 section 5.2.8)")]
    Checksum,
    #[error("another virtual router")]
    Vrid,
    #[error("no address in it (RFC 9568 section 5.2.5)")]
    NoAddress,
    #[error("advertisement interval 0 (RFC 9568 section 7.1, erratum 8301)")]
    IntervalZero,
    #[error("advertisement interval differs from ours (RFC 3768 section 7.1)")]
    IntervalMismatch,
    #[error("list of addresses differs from ours (RFC 3768 section 7.1)")]
    AddressList,
    #[error("authentication type differs from ours (RFC 3768 section 7.1)")]
    AuthType,
    #[error("wrong password")]
    Password,
    #[error("no auth_hmac trailer from somebody whose adverts have one")]
    AuthExtMissing,
    #[error("an auth_hmac trailer of an unknown type")]
    AuthExtMalformed,
    #[error("an auth_hmac trailer under a key that is not known here")]
    AuthExtUnknownKey,
    #[error("not signed with the key that its auth_hmac trailer names")]
    AuthExtInvalidHmac,
    #[error("its auth_hmac trailer is of another time: do the clocks agree?")]
    AuthExtStale,
    #[error("its auth_hmac trailer was seen before, or is older than one that was")]
    AuthExtReplay,
    #[error("not ARP for IPv4 over Ethernet")]
    NotArp,
    #[error("ARP frame cut short")]
    ArpLength,
    #[error("neither an ARP request nor a reply")]
    ArpOperation,
    #[error("not neighbour discovery over Ethernet")]
    NotNdp,
    #[error("neighbour discovery cut short")]
    NdpLength,
    #[error("neighbour discovery from another link: its hop limit is not 255 (RFC 4861 section 7.1)")]
    NdpHopLimit,
    #[error("neighbour discovery with a wrong checksum")]
    NdpChecksum,
    #[error("neighbour discovery that contradicts itself (RFC 4861 section 7.1)")]
    NdpInvalid,
}

impl Refusal {
    pub const ALL: [Self; 30] = [
        Self::IpHeader,
        Self::Own,
        Self::Sender,
        Self::Destination,
        Self::Ttl,
        Self::Version,
        Self::Type,
        Self::Length,
        Self::Checksum,
        Self::Vrid,
        Self::NoAddress,
        Self::IntervalZero,
        Self::IntervalMismatch,
        Self::AddressList,
        Self::AuthType,
        Self::Password,
        Self::AuthExtMissing,
        Self::AuthExtMalformed,
        Self::AuthExtUnknownKey,
        Self::AuthExtInvalidHmac,
        Self::AuthExtStale,
        Self::AuthExtReplay,
        Self::NotArp,
        Self::ArpLength,
        Self::ArpOperation,
        Self::NotNdp,
        Self::NdpLength,
        Self::NdpHopLimit,
        Self::NdpChecksum,
        Self::NdpInvalid,
    ];

    /// Under this name `status` and the metrics count it.
    pub const fn counter(self) -> &'static str {
        match self {
            Self::IpHeader => "drop_ip_header",
            Self::Own => "drop_own",
            Self::Sender => "drop_sender",
            Self::Destination => "drop_destination",
            Self::Ttl => "drop_ttl",
            Self::Version => "drop_version",
            Self::Type => "drop_type",
            Self::Length => "drop_length",
            Self::Checksum => "drop_checksum",
            Self::Vrid => "drop_vrid",
            Self::NoAddress => "drop_no_address",
            Self::IntervalZero => "drop_interval_zero",
            Self::IntervalMismatch => "drop_interval_mismatch",
            Self::AddressList => "drop_address_list",
            Self::AuthType => "drop_auth_type",
            Self::Password => "drop_password",
            Self::AuthExtMissing => "drop_auth_ext_missing",
            Self::AuthExtMalformed => "drop_auth_ext_malformed",
            Self::AuthExtUnknownKey => "drop_auth_ext_unknown_key",
            Self::AuthExtInvalidHmac => "drop_auth_ext_invalid_hmac",
            Self::AuthExtStale => "drop_auth_ext_stale",
            Self::AuthExtReplay => "drop_auth_ext_replay",
            Self::NotArp => "drop_not_arp",
            Self::ArpLength => "drop_arp_length",
            Self::ArpOperation => "drop_arp_operation",
            Self::NotNdp => "drop_not_ndp",
            Self::NdpLength => "drop_ndp_length",
            Self::NdpHopLimit => "drop_ndp_hop_limit",
            Self::NdpChecksum => "drop_ndp_checksum",
            Self::NdpInvalid => "drop_ndp_invalid",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_counter_of_its_own() {
        let reasons: BTreeSet<_> = Refusal::ALL.into_iter().collect();
        let counters: BTreeSet<_> = Refusal::ALL.into_iter().map(Refusal::counter).collect();
        assert_eq!((reasons.len(), counters.len()), (Refusal::ALL.len(), Refusal::ALL.len()));
    }
}
