//! What is said of an exchange: to the client in added fields, to the upstream in set ones, in the access log at the end.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use super::client::Client;
use super::exchange::Exchange;
use super::tally::Tally;
use super::worker::{View, Worker};
use crate::config::AccessLog;
use crate::gateway::{Facts, HeaderRules, Outcome, Site, access_line};
use crate::http1::{RequestHead, ResponseHead};

/// An upstream's head and its bytes.
pub(super) type Response<'a> = Option<(&'a [u8], &'a ResponseHead)>;

/// What there is to say, whether or not the request could be understood.
pub(super) struct Subject<'a> {
    pub(super) worker: &'a Worker,
    pub(super) client: &'a Client,
    pub(super) view: &'a View,
    pub(super) site: Option<&'a Site>,
    pub(super) bytes: &'a [u8],
    pub(super) request: Option<&'a RequestHead>,
    pub(super) upstream: &'a str,
    pub(super) tally: &'a Tally,
}

impl Subject<'_> {
    /// `with` gets everything that a text with variables may ask for.
    fn with_facts<T>(&self, response: Response<'_>, with: impl FnOnce(&Facts<'_>) -> T) -> T {
        let (worker, client, tally) = (self.worker, self.client, self.tally);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = worker.second(now.as_secs());
        let unknown = || SocketAddr::new(client.listener.address.ip(), client.listener.address.port());
        let local = match self.view.snapshot.names_local {
            true => client.local_addr().unwrap_or_else(unknown),
            false => unknown(),
        };
        tally.with_tries(|tries| {
            with(&Facts {
                node: &self.view.snapshot.node,
                server_name: self.site.map_or("", |site| &site.name),
                scheme: "http",
                client: client.name(),
                client_port: client.peer.port(),
                local,
                connection: client.number,
                connection_requests: client.requests.get().into(),
                request_id: *tally.request_id.get_or_init(|| worker.draw_request_id()),
                now,
                second: &second,
                head: self.bytes,
                request: self.request,
                upstream: self.upstream,
                outcome: Outcome {
                    status: tally.status.get(),
                    tries,
                    response,
                    bytes_sent: tally.sent.get(),
                    body_bytes_sent: tally.body_sent.get(),
                    request_length: tally.received.get(),
                    request_time: Instant::now().saturating_duration_since(tally.started),
                },
            })
        })
    }

    /// The lines that `rules` add to an answer; `scratch` holds them where they depend on the exchange.
    pub(super) fn added<'s>(
        &self,
        rules: &'s HeaderRules,
        response: Response<'_>,
        scratch: &'s mut Vec<u8>,
    ) -> &'s [u8] {
        if let Some(lines) = rules.constant_response_lines() {
            return lines;
        }
        self.with_facts(response, |facts| rules.response_lines(scratch, facts));
        scratch
    }

    /// The exchange is over.
    pub(super) fn log(&self) {
        let format = &self.view.snapshot.access_log;
        if matches!(format, AccessLog::Off) {
            return;
        }
        let kept = self.tally.response.borrow();
        let response = kept.as_ref().map(|(bytes, head)| (bytes.as_slice(), head));
        self.worker.log(|out| self.with_facts(response, |facts| access_line(format, out, facts)));
    }
}

impl<'a> Exchange<'a, '_> {
    pub(super) fn subject(&'a self) -> Subject<'a> {
        Subject {
            worker: self.worker,
            client: self.client,
            view: self.view,
            site: Some(self.site),
            bytes: self.bytes,
            request: Some(self.head),
            upstream: self.upstream(),
            tally: &self.tally,
        }
    }

    pub(super) fn rules(&self) -> &'a HeaderRules {
        self.route.map_or(&self.site.rules, |route| &route.rules)
    }

    /// What the rules make of the request; `fields` is filled where that depends on it.
    pub(super) fn set_fields(&self, fields: &mut crate::gateway::RequestFields) {
        self.subject().with_facts(None, |facts| self.rules().request_fields(fields, facts));
    }

    /// Counted and logged.
    pub(super) fn conclude(&self) {
        let tally = &self.tally;
        let body_in = tally.received.get().saturating_sub(self.head.length as u64);
        let ended = tally.ended.get().unwrap_or_else(Instant::now);
        let took = ended.saturating_duration_since(tally.started);
        self.worker.vitals.finished(tally.status.get(), took, body_in, tally.body_sent.get());
        if self.route.is_none_or(|route| route.is_logged) {
            self.subject().log();
        }
    }
}
