//! Where a probe sends its requests, how fast and how long: arguments as typed -> a plan that can be carried out.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;

/// Requests per second: beyond this, timers of a millisecond and one thread are the bottleneck, not the target.
const RATE_MAX: u32 = 10_000;
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Connections that are kept: far more than show a failover, well below the usual 1024 open files.
const PERSISTENT_MAX: u32 = 512;

/// Errors of the command line: where, what, what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("{0:?} is not a URL that the probe can ask: write http://HOST[:PORT][/PATH]")]
    Url(String),
    #[error("{0:?}: the probe speaks plain HTTP only; ask an http:// URL of the same server")]
    Https(String),
    #[error("--rate {0}: must be between 1 and {RATE_MAX} requests per second")]
    Rate(u32),
    #[error("--timeout {0:?}: must be between 1ms and 60s")]
    Timeout(Duration),
    #[error("--persistent {0}: must be at most {PERSISTENT_MAX} connections")]
    Persistent(u32),
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub target: Target,
    /// Between two fresh connections.
    pub every: Duration,
    pub timeout: Duration,
    pub persistent: u32,
    pub until: Until,
}

/// When a probe ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Elapsed(Duration),
    /// So many requests on fresh connections.
    Count(u64),
    /// And then what is under way is waited for.
    Told,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    pub host: String,
    pub port: u16,
    /// Origin form: path and query.
    pub path: Uri,
    /// The value of `Host`.
    pub authority: HeaderValue,
}

impl Plan {
    pub fn try_new(
        url: &str,
        rate: u32,
        timeout: Duration,
        persistent: u32,
        until: Until,
    ) -> Result<Self, PlanError> {
        if !(1..=RATE_MAX).contains(&rate) {
            return Err(PlanError::Rate(rate));
        }
        if timeout < Duration::from_millis(1) || timeout > TIMEOUT_MAX {
            return Err(PlanError::Timeout(timeout));
        }
        if persistent > PERSISTENT_MAX {
            return Err(PlanError::Persistent(persistent));
        }
        let every = Duration::from_secs(1) / rate;
        Ok(Self { target: url.parse()?, every, timeout, persistent, until })
    }
}

impl std::str::FromStr for Target {
    type Err = PlanError;

    fn from_str(url: &str) -> Result<Self, PlanError> {
        let error = || PlanError::Url(url.to_owned());
        let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = with_scheme.parse().map_err(|_| error())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(PlanError::Https(url.to_owned())),
            _ => return Err(error()),
        }
        let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(error)?;
        let host = authority.host();
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        Ok(Self {
            url: uri.to_string(),
            host: host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: path.parse().map_err(|_| error())?,
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| error())?,
        })
    }
}

impl Target {
    /// The first address of the host; IPv4 first, as the VIP is one. Asked once: a probe that followed DNS would
    /// measure DNS.
    pub async fn resolve(&self) -> std::io::Result<SocketAddr> {
        let mut found: Vec<SocketAddr> =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        found.into_iter().next().ok_or_else(|| std::io::Error::other("the name has no address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_from_what_people_type() {
        let check = |url: &str, expect: Option<(&str, u16, &str, &str)>| {
            let got = url.parse::<Target>().ok();
            let got = got.as_ref().map(|t| {
                (
                    t.host.as_str(),
                    t.port,
                    t.path.path_and_query().map_or("", |p| p.as_str()),
                    t.authority.to_str().unwrap(),
                )
            });
            assert_eq!(got, expect, "{url}");
        };
        check("http://172.20.128.4/", Some(("172.20.128.4", 80, "/", "172.20.128.4")));
        check("http://localhost:8000", Some(("localhost", 8000, "/", "localhost:8000")));
        check("localhost:8000/node?x=1", Some(("localhost", 8000, "/node?x=1", "localhost:8000")));
        check("172.20.128.4", Some(("172.20.128.4", 80, "/", "172.20.128.4")));
        check("http://[::1]:8080/a", Some(("::1", 8080, "/a", "[::1]:8080")));
        for bad in ["", "http://", "https://a/", "ftp://a/", "http://u:p@a/", "http://a b/", "/path"] {
            check(bad, None);
        }
    }

    #[test]
    fn figures_outside_their_range_are_refused() {
        let check = |rate, timeout, persistent| {
            Plan::try_new("a", rate, timeout, persistent, Until::Count(1)).map(|plan| plan.every)
        };
        let patience = Duration::from_millis(200);
        assert_eq!(check(200, patience, 0), Ok(Duration::from_millis(5)));
        assert_eq!(check(0, patience, 0), Err(PlanError::Rate(0)));
        assert_eq!(check(10_001, patience, 0), Err(PlanError::Rate(10_001)));
        assert_eq!(check(1, Duration::ZERO, 0), Err(PlanError::Timeout(Duration::ZERO)));
        assert_eq!(check(1, Duration::from_secs(61), 0), Err(PlanError::Timeout(Duration::from_secs(61))));
        assert_eq!(check(1, patience, 513), Err(PlanError::Persistent(513)));
    }
}
