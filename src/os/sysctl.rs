//! Whether this kernel's sysctls keep it silent in ARP about an address on `lo`.

use std::fs;
use std::io;

use crate::net::InterfaceName;

/// The settings in force on one interface: for both, the kernel takes the greater of `all` and the interface's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpSysctls {
    pub ignore: u8,
    pub announce: u8,
}

impl ArpSysctls {
    pub fn read(interface: &InterfaceName) -> io::Result<Self> {
        let greater =
            |name: &str| -> io::Result<u8> { Ok(value("all", name)?.max(value(interface.as_str(), name)?)) };
        Ok(Self { ignore: greater("arp_ignore")?, announce: greater("arp_announce")? })
    }

    /// 1 and 2 answer only for addresses of the interface that was asked, 8 for none; 4 to 7 mean nothing to the
    /// kernel and answer for all. With arp_announce below 2 a late segment lets the kernel claim the address in a
    /// request of its own.
    pub fn silent(self) -> bool {
        matches!(self.ignore, 1 | 2 | 8) && self.announce == 2
    }
}

fn value(interface: &str, name: &str) -> io::Result<u8> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/{name}");
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netns;

    #[test]
    fn only_values_that_silence_the_kernel_count() {
        let table = [
            (0, 0, false),
            (1, 0, false),
            (0, 2, false),
            (1, 1, false),
            (1, 2, true),
            (2, 2, true),
            (4, 2, false),
            (8, 2, true),
        ];
        for (ignore, announce, expect) in table {
            assert_eq!(ArpSysctls { ignore, announce }.silent(), expect, "{ignore} {announce}");
        }
    }

    #[test]
    fn the_greater_of_all_and_the_interface_counts() {
        netns::with("the_greater_of_all_and_the_interface_counts", || {
            let lo = InterfaceName::try_from("lo".to_owned()).unwrap();
            let set = |interface: &str, name: &str, value: &str| {
                fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{name}"), value).unwrap();
            };
            set("all", "arp_ignore", "0");
            set("all", "arp_announce", "0");
            set("lo", "arp_ignore", "0");
            set("lo", "arp_announce", "0");
            assert_eq!(ArpSysctls::read(&lo).unwrap(), ArpSysctls { ignore: 0, announce: 0 });
            set("all", "arp_ignore", "1");
            set("lo", "arp_announce", "2");
            assert_eq!(ArpSysctls::read(&lo).unwrap(), ArpSysctls { ignore: 1, announce: 2 });
            let gone = InterfaceName::try_from("gone0".to_owned()).unwrap();
            assert_eq!(ArpSysctls::read(&gone).unwrap_err().kind(), io::ErrorKind::NotFound);
        });
    }
}
