//! `/metrics`: what the proxy has counted, and what PID 1 says of the node, in Prometheus' text format. No socket, no
//! clock.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::counters::{Count, DURATIONS, Sums};
use crate::link::control::{RoleState, Status};
use crate::link::{InstanceReport, PeerLinkState, UpstreamReport, VrrpState};

/// Of `render`'s text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const STATES: [VrrpState; 3] = [VrrpState::Fault, VrrpState::Backup, VrrpState::Master];

const LINKS: [(PeerLinkState, &str); 4] = [
    (PeerLinkState::Connecting, "connecting"),
    (PeerLinkState::Up, "up"),
    (PeerLinkState::Frozen, "frozen"),
    (PeerLinkState::Down, "down"),
];

/// The labels of what there is one of.
const ALONE: [(&str, &str); 0] = [];

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) workers: usize,
    pub(super) sums: Sums,
    pub(super) upstreams: Vec<UpstreamReport>,
    /// `None`: PID 1 did not answer in time.
    pub(super) node: Option<Box<Status>>,
}

pub(super) fn render(measured: Measured) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("vipgate");
    registry.register_collector(Box::new(measured));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Measured {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page { encoder };
        self.proxy(&mut page)?;
        self.servers(&mut page)?;
        page.gauges(
            "node_answers",
            "Whether process 1 answered for this page",
            [(ALONE, u64::from(self.node.is_some()))],
        )?;
        let Some(node) = &self.node else { return Ok(()) };
        self::node(node, &mut page)?;
        self::config(node, &mut page)?;
        routers(node, &mut page)?;
        link(node, &mut page)?;
        notifications(node, &mut page)
    }
}

impl Measured {
    fn proxy(&self, page: &mut Page<'_>) -> fmt::Result {
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        page.gauges("build_info", "The version of this program", [(build, 1_u64)])?;
        page.gauges("workers", "Worker threads of the proxy", [(ALONE, self.workers as u64)])?;
        let Self { sums, .. } = self;
        page.gauges("connections", "Client connections that are open", [(ALONE, sums.connections)])?;
        let requests = sums.counted(Count::Requests);
        page.counters("requests", "Requests whose head has come", [(ALONE, requests)])?;
        let events = sums.named().map(|(event, n)| ([("event", event)], n));
        page.counters("proxy_events", "What the workers have counted", events)?;
        let classes = CLASSES.iter().zip(sums.classes).map(|(class, n)| ([("class", *class)], n));
        page.counters("responses", "Answers by the class of their status", classes)?;
        page.bytes("request_body", "Bytes of request bodies", sums.bytes_in)?;
        page.bytes("response_body", "Bytes of response bodies", sums.bytes_out)?;
        let bounds = DURATIONS.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(sums.durations).collect();
        let count = sums.durations.iter().sum();
        let sum = sums.duration_sum.as_secs_f64();
        page.histogram(
            "request_duration",
            "From a request's first byte to its answer's last",
            sum,
            count,
            &buckets,
        )
    }

    fn servers(&self, page: &mut Page<'_>) -> fmt::Result {
        let label =
            |upstream: &str, server: &str| [("upstream", upstream.to_owned()), ("server", server.to_owned())];
        let up = self.upstreams.iter().flat_map(|upstream| {
            upstream.servers.iter().map(move |s| (label(&upstream.name, &s.address), u64::from(s.up)))
        });
        page.gauges("upstream_server_up", "Whether a server can be asked", up)?;
        let servers =
            || self.sums.servers.iter().map(|((upstream, server), n)| (label(upstream, server), *n));
        let tries = servers().map(|(label, (tries, _))| (label, tries));
        page.counters(
            "upstream_server_tries",
            "Requests that were sent to a server, or should have been",
            tries,
        )?;
        let failures = servers().map(|(label, (_, failures))| (label, failures));
        page.counters("upstream_server_failures", "Those of them that failed", failures)
    }
}

fn node(node: &Status, page: &mut Page<'_>) -> fmt::Result {
    let healthy = node.health(None).is_ok();
    page.gauges("healthy", "What vipgate healthcheck says", [(ALONE, u64::from(healthy))])?;
    let uptime = node.now.0.saturating_sub(node.started.0) as f64 / 1e9;
    page.seconds("uptime", "Since the start of process 1", uptime)?;
    let restarts = [
        ("proxy", Some(node.proxy.incarnation)),
        ("vrrp", node.vrrp.as_ref().map(|v| v.incarnation)),
        ("runner", node.runner.as_ref().map(|r| r.incarnation)),
    ];
    let restarts = restarts.into_iter().filter_map(|(role, n)| Some(([("role", role)], n?)));
    page.counters("role_starts", "How often a process was started", restarts)?;
    let states = [
        ("proxy", Some(node.proxy.state)),
        ("vrrp", node.vrrp.as_ref().map(|v| v.state)),
        ("runner", node.runner.as_ref().map(|r| r.state)),
    ];
    let states = states
        .into_iter()
        .filter_map(|(role, state)| Some(([("role", role)], u64::from(state? == RoleState::Serving))));
    page.gauges("role_serving", "Whether a process does its work", states)
}

fn config(node: &Status, page: &mut Page<'_>) -> fmt::Result {
    let config = &node.config;
    page.gauges(
        "config_generation",
        "Counts the configurations of this process 1",
        [(ALONE, config.generation.0)],
    )?;
    let refused = config.refused.is_some();
    page.gauges("config_refused", "Whether the last edit is not in force", [(ALONE, u64::from(refused))])?;
    let waits = config.waiting.is_some();
    page.gauges(
        "config_waiting",
        "Whether an edit waits for the peer to take it first",
        [(ALONE, u64::from(waits))],
    )
}

fn routers(node: &Status, page: &mut Page<'_>) -> fmt::Result {
    let reports = node.vrrp.iter().flat_map(|role| &role.report);
    let routers: Vec<&InstanceReport> = reports.flat_map(|(_, report)| &report.instances).collect();
    let states = routers.iter().flat_map(|router| {
        STATES.map(|state| {
            let label = [("router", router.name.clone()), ("state", state.to_string().to_lowercase())];
            (label, u64::from(router.state == state))
        })
    });
    page.gauges("vrrp_state", "1 for the state that a virtual router is in", states)?;
    let priorities = routers.iter().map(|r| ([("router", r.name.clone())], u64::from(r.priority)));
    page.gauges("vrrp_priority", "The priority of a virtual router on this node", priorities)?;
    let events = routers.iter().flat_map(|router| {
        let label = |event: &String| [("router", router.name.clone()), ("event", event.clone())];
        router.counters.iter().map(move |(event, n)| (label(event), *n))
    });
    page.counters("vrrp_events", "What a virtual router has counted", events)
}

fn link(node: &Status, page: &mut Page<'_>) -> fmt::Result {
    let reports = || node.vrrp.iter().flat_map(|role| &role.report).map(|(_, report)| &report.link);
    page.gauges(
        "link_on",
        "Whether this node has a key for the link to its peers",
        reports().map(|link| (ALONE, u64::from(link.off.is_none() && link.port.is_some()))),
    )?;
    let peers = || reports().flat_map(|link| &link.peers);
    let states = peers().flat_map(|peer| {
        LINKS.map(|(state, name)| {
            let label = [("peer", peer.address.to_string()), ("state", name.to_owned())];
            (label, u64::from(peer.link == state))
        })
    });
    page.gauges("link_state", "1 for the state that the link to a peer is in", states)?;
    let events = reports().flat_map(|link| &link.counters);
    let events = events.map(|(event, n)| ([("event", event.clone())], *n));
    page.counters("link_events", "What has happened on the links to the peers", events)
}

fn notifications(node: &Status, page: &mut Page<'_>) -> fmt::Result {
    let reports = || node.runner.iter().flat_map(|role| &role.report).map(|(_, report)| report);
    let waiting = reports().map(|report| (ALONE, report.waiting as u64));
    page.gauges("notifications_waiting", "Programs not run and messages not delivered yet", waiting)?;
    let events = reports().flat_map(|report| &report.counters);
    let events = events.map(|(event, n)| ([("event", event.clone())], *n));
    page.counters("notification_events", "What has become of notifications", events)
}

/// What the library wants to hear for each kind of metric.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, n) in values {
            metric.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&n, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, value) in values {
            metric.encode_family(&label)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn bytes(&mut self, name: &str, help: &str, n: u64) -> fmt::Result {
        let mut metric =
            self.encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&n, None)
    }

    fn seconds(&mut self, name: &str, help: &str, seconds: f64) -> fmt::Result {
        let mut metric =
            self.encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        metric.encode_gauge(&seconds)
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        count: u64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let mut metric =
            self.encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::proxy::counters::Vitals;
    use crate::link::control::tests::{role, status};
    use crate::link::{LinkReport, PeerReport, RunnerReport, UpstreamServerReport};
    use std::time::Duration;

    #[test]
    fn a_page_has_what_was_counted() {
        let (a, b) = (Vitals::default(), Vitals::default());
        for _ in 0..3 {
            a.count(Count::Requests);
        }
        b.count(Count::Requests);
        a.finished(200, Duration::from_micros(300), 5, 7);
        b.finished(503, Duration::from_secs(70), 0, 20);
        let kept = b.tally("app", "app:80");
        kept.tried();
        kept.failed();
        let server =
            UpstreamServerReport { address: "app:80".into(), up: false, reason: "said \"no\"".into() };
        let mut node = status(VrrpState::Master);
        let (_, vrrp) = node.vrrp.as_mut().unwrap().report.as_mut().unwrap();
        vrrp.link = LinkReport {
            port: Some(9112),
            peers: vec![PeerReport {
                address: "172.20.128.3".parse().unwrap(),
                link: PeerLinkState::Frozen,
                reason: String::new(),
                node: "two".into(),
                version: String::new(),
                other_config: false,
                late: Duration::ZERO,
                clients: 0,
                routers: vec![],
            }],
            counters: vec![("link_drop_key".into(), 3), ("link_up".into(), 2)],
            ..LinkReport::default()
        };
        node.runner = Some(role(RunnerReport {
            waiting: 4,
            counters: vec![("webhooks_delivered".into(), 6)],
            warnings: vec![],
        }));
        let measured = Measured {
            workers: 2,
            sums: Sums::of([&a, &b].into_iter()),
            upstreams: vec![UpstreamReport { name: "app".into(), servers: vec![server] }],
            node: Some(Box::new(node)),
        };
        let text = render(measured).unwrap();
        for line in [
            "# TYPE vipgate_requests_total counter",
            "vipgate_requests_total 4",
            "vipgate_build_info{version=\"0.1.0\"} 1",
            "vipgate_responses_total{class=\"2xx\"} 1",
            "vipgate_responses_total{class=\"5xx\"} 1",
            "vipgate_request_body_bytes_total 5",
            "vipgate_response_body_bytes_total 27",
            "vipgate_request_duration_seconds_bucket{le=\"0.00025\"} 0",
            "vipgate_request_duration_seconds_bucket{le=\"0.0005\"} 1",
            "vipgate_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "vipgate_request_duration_seconds_count 2",
            "vipgate_upstream_server_up{upstream=\"app\",server=\"app:80\"} 0",
            "vipgate_upstream_server_failures_total{upstream=\"app\",server=\"app:80\"} 1",
            "vipgate_healthy 1",
            "vipgate_config_generation 1",
            "vipgate_config_refused 0",
            "vipgate_vrrp_state{router=\"web\",state=\"master\"} 1",
            "vipgate_vrrp_state{router=\"web\",state=\"backup\"} 0",
            "vipgate_vrrp_events_total{router=\"web\",event=\"adverts_sent\"} 120",
            "vipgate_link_on 1",
            "vipgate_link_state{peer=\"172.20.128.3\",state=\"frozen\"} 1",
            "vipgate_link_state{peer=\"172.20.128.3\",state=\"up\"} 0",
            "vipgate_link_events_total{event=\"link_drop_key\"} 3",
            "vipgate_link_events_total{event=\"link_up\"} 2",
            "vipgate_notifications_waiting 4",
            "vipgate_notification_events_total{event=\"webhooks_delivered\"} 6",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        let alone = render(Measured::default()).unwrap();
        assert!(alone.contains("vipgate_node_answers 0\n") && !alone.contains("vipgate_healthy"), "{alone}");
    }
}
