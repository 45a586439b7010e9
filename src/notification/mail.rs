//! What a mail says.

use std::time::Duration;

use super::lane::Schedule;
use crate::link::Notice;

/// A mail server that is down for a minute is worth waiting for; what is older than some minutes is no news.
pub const SCHEDULE: Schedule =
    Schedule { tries: 5, first_pause: Duration::from_secs(5), longest_pause: Duration::from_secs(60) };

/// As keepalived's, for the filters that people have.
pub fn subject(notice: &Notice, node: &str) -> String {
    format!("[{node}] VRRP Instance {} - Entering {} state", notice.instance, notice.state)
}

pub fn body(notice: &Notice, node: &str, time: &str) -> String {
    let Notice { instance, state, priority, reason } = notice;
    format!("{time}\nnode {node}: {instance} is {state}, priority {priority}\n{reason}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Announced;

    #[test]
    fn a_mail_says_who_is_what_and_why() {
        let notice = Notice {
            instance: "web".into(),
            state: Announced::Master,
            priority: 150,
            reason: "the peer is silent".into(),
        };
        assert_eq!(subject(&notice, "one"), "[one] VRRP Instance web - Entering MASTER state");
        let expect = "now\nnode one: web is MASTER, priority 150\nthe peer is silent\n";
        assert_eq!(body(&notice, "one", "now"), expect);
    }
}
