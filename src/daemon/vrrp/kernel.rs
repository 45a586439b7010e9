//! Kernel state of the virtual addresses: put, taken away, and looked at again, never merely remembered.

use std::io;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::place::Survey;
use crate::net::{Cidr, MacAddr};
use crate::os::netlink::{Neighbour, Route};
use crate::os::sock_diag;

/// A route is made within a tenth of a millisecond or so.
const LOOK_AGAIN_AFTER: Duration = Duration::from_micros(100);

pub(super) struct Kernel {
    route: Route,
    /// Whether SOCK_DESTROY works, and if not, why.
    pub(super) destroys_sockets: Result<(), String>,
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        let destroys_sockets = sock_diag::probe().map_err(|error| {
            format!(
                "connections to a lost virtual address cannot be ended (SOCK_DESTROY: {error}); their clients wait \
                 for their own timeout; this takes NET_ADMIN and a kernel with CONFIG_INET_DIAG_DESTROY"
            )
        });
        Ok(Self { route: Route::open()?, destroys_sockets })
    }

    pub(super) fn survey(&mut self) -> io::Result<Survey> {
        Ok(Survey { links: self.route.links()?, addresses: self.route.addresses()? })
    }

    pub(super) fn put(&mut self, link: u32, loopback: bool, cidr: Cidr, lease: Duration) -> io::Result<()> {
        self.route.put_address(link, loopback, cidr, Some(lease))
    }

    /// False: what comes for the address is not taken by then.
    pub(super) fn wait_until_taken(&mut self, address: IpAddr, link: u32, until: Instant) -> bool {
        while !self.route.takes(address, link).unwrap_or(true) {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
        true
    }

    /// Takes these addresses away wherever they are with a lease, which only this program gives them. One that is there
    /// for good was put there by somebody else, and `for_good` says so.
    pub(super) fn release(&mut self, addresses: &[IpAddr]) -> io::Result<usize> {
        let (mut released, mut failed) = (0, None);
        for found in self.route.addresses()? {
            if !addresses.contains(&found.cidr.address()) || found.valid.is_none() {
                continue;
            }
            match self.route.delete_address(found.index, found.cidr) {
                Ok(()) => released += 1,
                // Its lease ran out between the two questions, or its interface went.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {}
                // The others go all the same.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(released), Err)
    }

    /// True if there are more than it could end within `patience`.
    pub(super) fn destroy_sockets(&self, addresses: &[IpAddr], patience: Duration) -> bool {
        if self.destroys_sockets.is_err() {
            return false;
        }
        match sock_diag::destroy_tcp(addresses, patience) {
            Ok(outcome) => {
                if outcome.destroyed > 0 {
                    info!("ended {} connections to {addresses:?}", outcome.destroyed);
                }
                if let Some(error) = outcome.last_error {
                    warn!("{} connections to {addresses:?} could not be ended: {error}", outcome.refused);
                }
                outcome.unfinished
            }
            Err(error) => {
                warn!("connections to {addresses:?} could not be ended: {error}");
                false
            }
        }
    }

    /// The same for what only waits there; nobody is told.
    pub(super) fn forget_waiting(&self, addresses: &[IpAddr], patience: Duration) -> bool {
        if self.destroys_sockets.is_err() {
            return false;
        }
        match sock_diag::forget_waiting(addresses, patience) {
            // One that is refused will be refused again.
            Ok(outcome) => outcome.unfinished && outcome.refused == 0,
            Err(error) => {
                debug!("what waits at {addresses:?} cannot be listed: {error}");
                false
            }
        }
    }

    pub(super) fn neighbours(&mut self) -> io::Result<Vec<Neighbour>> {
        self.route.neighbours()
    }

    /// What is out of date, or not, about one who asks.
    pub(super) fn correct(&mut self, link: u32, asker: IpAddr, mac: MacAddr) {
        if let Err(error) = self.route.correct(link, asker, mac) {
            debug!("whether {asker} is known to be at {mac} cannot be found out: {error}");
        }
    }

    pub(super) fn look_up(&mut self, link: u32, address: IpAddr) -> io::Result<()> {
        self.route.look_up(link, address)
    }
}

/// A virtual address that sits on an interface without a lease.
pub(super) fn for_good(addresses: &[IpAddr], survey: &Survey) -> Result<(), String> {
    let stray = survey.addresses.iter().find(|a| a.valid.is_none() && addresses.contains(&a.cidr.address()));
    let Some(stray) = stray else { return Ok(()) };
    let name = survey.links.iter().find(|l| l.index == stray.index).map_or("?", |l| l.name.as_str());
    Err(format!(
        "{0} is on {name} for good, put there by somebody else, so that this node holds it also when it is not \
         master: remove it with `ip addr del {0} dev {name}`",
        stray.cidr
    ))
}
