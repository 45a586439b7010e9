//! What the control socket carries: one request on one line, one answer on one line, both JSON. No socket, no clock.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Boottime, Generation, InstanceReport, ProxyReport, RunnerReport, VrrpReport, VrrpState, Wish};

/// Longest request in bytes, with its end of line.
pub const MAX_REQUEST: usize = 4 << 10;
/// Longest answer in bytes, with its end of line: a bound for the asker.
pub const MAX_ANSWER: usize = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status,
    Wish(WishRequest),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Status(Box<Status>),
    /// A wish has been fulfilled, and how.
    Done {
        text: String,
    },
    Refused {
        reason: String,
    },
}

/// A wish travels under a name of its own, since a request has no other fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WishRequest {
    pub wish: Wish,
}

/// What `vipgate status --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub node: String,
    /// When this was put together: ages are counted back from here.
    pub now: Boottime,
    pub started: Boottime,
    pub stopping: bool,
    pub config: ConfigStatus,
    pub proxy: RoleStatus<ProxyReport>,
    /// `None`: the configuration has no virtual router.
    pub vrrp: Option<RoleStatus<VrrpReport>>,
    /// `None`: there is nothing to run, and nobody to tell.
    pub runner: Option<RoleStatus<RunnerReport>>,
    /// From the oldest to the newest.
    pub history: Vec<Happening>,
    /// PID 1's own; those of the vrrp role and the runner are in their reports.
    pub warnings: Vec<String>,
}

/// One thing that has happened here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    pub at: Boottime,
    /// By the wall clock, as ISO 8601 writes it.
    pub time: String,
    pub kind: HappeningKind,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HappeningKind {
    /// A virtual router is in another state.
    Router,
    /// A process did not run, or its machine was suspended.
    Gap,
    Config,
    /// A process has died, or was killed; vipgate has started or was told to stop.
    Role,
    /// Somebody could not be told.
    Notification,
    /// Somebody has ordered something over the link.
    Drill,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigStatus {
    pub path: String,
    /// SHA-256 of the text in force, hexadecimal.
    pub digest: String,
    pub generation: Generation,
    pub since: Boottime,
    pub listen: Vec<SocketAddr>,
    /// Of the admin endpoint, if there is one.
    pub admin: Option<SocketAddr>,
    /// An edit that can be applied, and waits for the peers to take it first.
    pub waiting: Option<WaitingEdit>,
    /// The last edit, if it could not be applied.
    pub refused: Option<RefusedEdit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingEdit {
    pub since: Boottime,
    pub digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEdit {
    pub at: Boottime,
    pub digest: String,
    /// Every problem, ready to be read.
    pub problems: String,
    /// They may pass: it is tried again by itself.
    pub is_retried: bool,
    /// Nothing is wrong with it here: a peer has stopped answering since it was made.
    pub is_held: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleStatus<R> {
    pub state: RoleState,
    pub since: Boottime,
    pub pid: Option<u32>,
    /// How often it has been started.
    pub incarnation: u64,
    /// How the one before ended.
    pub last_end: Option<String>,
    /// The last report and when it came.
    pub report: Option<(Boottime, R)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleState {
    /// It runs, and has not yet said that it serves.
    Starting,
    Serving,
    /// It is being killed, because it does not answer or cannot be understood.
    Ending,
    /// It is dead and will be started again.
    Restarting,
    Stopped,
}

impl fmt::Display for RoleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Ending => "being killed",
            Self::Restarting => "waiting for its restart",
            Self::Stopped => "stopped",
        })
    }
}

impl Status {
    /// Whether this node does its work: the proxy serves, and every virtual router is master or could become it. With
    /// `wanted`, whether one of them is in that state.
    /// Either way one line that says why.
    pub fn health(&self, wanted: Option<VrrpState>) -> Result<String, String> {
        if self.stopping {
            return Err("vipgate is stopping".into());
        }
        if self.proxy.state != RoleState::Serving {
            return Err(format!("the proxy is {}", self.proxy.state));
        }
        let instances = match &self.vrrp {
            None => &[][..],
            Some(vrrp) if vrrp.state != RoleState::Serving => {
                return Err(format!("the vrrp role is {}", vrrp.state));
            }
            Some(vrrp) => vrrp.report.as_ref().map_or(&[][..], |(_, report)| &report.instances),
        };
        let Some(wanted) = wanted else { return self.works(instances) };
        if let Some(instance) = instances.iter().find(|i| i.state == wanted) {
            return Ok(format!("{} is {wanted}: {}", instance.name, instance.reason));
        }
        let found: Vec<_> =
            instances.iter().map(|i| format!("{} is {}: {}", i.name, i.state, i.reason)).collect();
        Err(if found.is_empty() {
            format!("no virtual router is {wanted}: none has reported")
        } else {
            format!("no virtual router is {wanted}; {}", found.join("; "))
        })
    }
}

impl Status {
    /// Every virtual router stands for election, or has won it.
    fn works(&self, instances: &[InstanceReport]) -> Result<String, String> {
        if self.vrrp.as_ref().is_some_and(|vrrp| vrrp.report.is_none()) {
            return Err("the virtual routers have not reported".into());
        }
        let in_fault: Vec<_> = instances
            .iter()
            .filter(|i| i.state == VrrpState::Fault)
            .map(|i| format!("{} is {}: {}", i.name, i.state, i.reason))
            .collect();
        if in_fault.is_empty() { Ok("healthy".into()) } else { Err(in_fault.join("; ")) }
    }
}

impl fmt::Display for VrrpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fault => "FAULT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::link::{ArpFence, FenceReport, HandoverReport};
    use std::time::Duration;

    pub(crate) fn role<R>(report: R) -> RoleStatus<R> {
        RoleStatus {
            state: RoleState::Serving,
            since: Boottime(5_000_000_000),
            pid: Some(7),
            incarnation: 1,
            last_end: None,
            report: Some((Boottime(100_000_000_000), report)),
        }
    }

    /// A node with one virtual router in `state`, 100 s after the boot of its machine.
    pub(crate) fn status(state: VrrpState) -> Status {
        let instance = InstanceReport {
            name: "web".into(),
            vrid: 51,
            state,
            reason: "because".into(),
            since: Boottime(88_000_000_000),
            priority: 150,
            configured_priority: 150,
            tracks: vec![],
            virtual_addresses: vec!["172.20.128.4".parse().unwrap()],
            interface: "eth0".to_owned().try_into().ok(),
            master: Some(("172.20.128.3".parse().unwrap(), 100)),
            peers: vec!["172.20.128.3".into()],
            fence: FenceReport {
                arp: ArpFence::Nftables,
                lease: Duration::from_secs(1),
                gate: Some(Duration::from_millis(48)),
                socket_destroy: true,
            },
            handover: HandoverReport { relays: true, relays_to: None, lingers: false },
            auth_hmac: "off".into(),
            counters: vec![("adverts_sent".into(), 120)],
        };
        Status {
            version: "0.1.0".into(),
            node: "one".into(),
            now: Boottime(100_000_000_000),
            started: Boottime(4_000_000_000),
            stopping: false,
            config: ConfigStatus {
                path: "/etc/vipgate/vipgate.yaml".into(),
                digest: "0123456789abcdef".repeat(4),
                generation: Generation(1),
                since: Boottime(5_000_000_000),
                listen: vec!["0.0.0.0:80".parse().unwrap()],
                admin: None,
                waiting: None,
                refused: None,
            },
            proxy: role(ProxyReport { workers: 2, ..ProxyReport::default() }),
            runner: None,
            history: vec![],
            vrrp: Some(role(VrrpReport { instances: vec![instance], ..VrrpReport::default() })),
            warnings: vec![],
        }
    }

    #[test]
    fn health_names_what_is_missing() {
        let with = |change: &dyn Fn(&mut Status)| {
            let mut status = status(VrrpState::Backup);
            change(&mut status);
            status
        };
        let master = Some(VrrpState::Master);
        let backup = Some(VrrpState::Backup);
        let table: [(Status, Option<VrrpState>, Result<&str, &str>); 14] = [
            (with(&|_| ()), None, Ok("healthy")),
            (status(VrrpState::Master), None, Ok("healthy")),
            (status(VrrpState::Fault), None, Err("web is FAULT: because")),
            (status(VrrpState::Fault), master, Err("no virtual router is MASTER; web is FAULT: because")),
            (
                with(&|s| {
                    let (_, report) = s.vrrp.as_mut().unwrap().report.as_mut().unwrap();
                    let other = InstanceReport {
                        name: "mail".into(),
                        state: VrrpState::Fault,
                        reason: "eth1 is down".into(),
                        ..report.instances[0].clone()
                    };
                    report.instances.push(other);
                }),
                None,
                Err("mail is FAULT: eth1 is down"),
            ),
            (
                with(&|s| s.vrrp.as_mut().unwrap().report = None),
                None,
                Err("the virtual routers have not reported"),
            ),
            // The last one has been removed; the role stays.
            (
                with(&|s| s.vrrp.as_mut().unwrap().report = Some((Boottime(0), VrrpReport::default()))),
                None,
                Ok("healthy"),
            ),
            (with(&|_| ()), backup, Ok("web is BACKUP: because")),
            (with(&|_| ()), master, Err("no virtual router is MASTER; web is BACKUP: because")),
            (with(&|s| s.vrrp = None), None, Ok("healthy")),
            (with(&|s| s.vrrp = None), master, Err("no virtual router is MASTER: none has reported")),
            (with(&|s| s.stopping = true), backup, Err("vipgate is stopping")),
            (with(&|s| s.proxy.state = RoleState::Starting), backup, Err("the proxy is starting")),
            (
                with(&|s| s.vrrp.as_mut().unwrap().state = RoleState::Ending),
                None,
                Err("the vrrp role is being killed"),
            ),
        ];
        for (status, wanted, expect) in table {
            let got = status.health(wanted);
            assert_eq!(got.as_deref().map_err(String::as_str), expect);
        }
    }

    #[test]
    fn requests_and_answers_are_one_line() {
        let request = serde_json::to_string(&Request::Status).unwrap();
        assert_eq!(request, r#"{"request":"status"}"#);
        let wish = Request::Wish(WishRequest { wish: Wish::Failover { instance: Some("web".into()) } });
        let text = r#"{"request":"wish","wish":{"failover":{"instance":"web"}}}"#;
        assert_eq!(serde_json::to_string(&wish).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), wish);
        let answer = Answer::Status(Box::new(status(VrrpState::Master)));
        let line = serde_json::to_string(&answer).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
        assert!(serde_json::from_str::<Request>(r#"{"request":"reboot"}"#).is_err());
    }
}
