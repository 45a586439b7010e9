//! Templates made into values of header fields and into lines of a log.

use super::digits::{push_number, push_padded};
use super::facts::Facts;
use super::sink::{Escape, Sink};
use super::template::{Part, Template, Variable};
use crate::config::AccessLog;

/// Bytes of one rendered text: a request head has 32 KiB, but a template can name a part of it again and again. What is
/// longer is cut.
const RENDERED_MAX: usize = 64 << 10;

impl Template {
    /// Appends the value for a header field. A variable without a value is left out.
    pub fn render(&self, out: &mut Vec<u8>, facts: &Facts<'_>) {
        self.write(out, facts, Escape::Field, b"");
    }

    /// Appends a line of text with its end. A variable without a value is a dash, as in nginx's logs.
    pub fn render_line(&self, out: &mut Vec<u8>, facts: &Facts<'_>) {
        self.write(out, facts, Escape::Line, b"-");
        out.push(b'\n');
    }

    fn write(&self, out: &mut Vec<u8>, facts: &Facts<'_>, escape: Escape, missing: &[u8]) {
        let end = out.len() + RENDERED_MAX;
        for part in self.parts() {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => {
                    if !facts.write(variable, &mut Sink::new(out, escape)) {
                        out.extend_from_slice(missing);
                    }
                }
            }
            if out.len() > end {
                out.truncate(end);
                return;
            }
        }
    }
}

/// Appends what the access log says of an exchange: one line, or nothing.
pub fn access_line(format: &AccessLog, out: &mut Vec<u8>, facts: &Facts<'_>) {
    match format {
        AccessLog::Off => (),
        AccessLog::Text(template) => template.render_line(out, facts),
        AccessLog::Json => json_line(out, facts),
    }
}

enum Source {
    Number(Variable),
    Text(Variable),
    RequestField(&'static str),
    /// Without the zeros in front that `$status` has, which no number of JSON may have.
    Status,
}

/// The members of a JSON line behind `time`, always all of them and in this order. docs/config.md lists them.
const MEMBERS: &[(&str, Source)] = &[
    ("remote_addr", Source::Text(Variable::RemoteAddr)),
    ("host", Source::Text(Variable::Host)),
    ("method", Source::Text(Variable::RequestMethod)),
    ("uri", Source::Text(Variable::RequestUri)),
    ("protocol", Source::Text(Variable::ServerProtocol)),
    ("status", Source::Status),
    ("body_bytes_sent", Source::Number(Variable::BodyBytesSent)),
    ("request_time", Source::Number(Variable::RequestTime)),
    ("request_id", Source::Text(Variable::RequestId)),
    ("upstream_addr", Source::Text(Variable::UpstreamAddr)),
    ("upstream_status", Source::Text(Variable::UpstreamStatus)),
    ("upstream_response_time", Source::Text(Variable::UpstreamResponseTime)),
    ("referer", Source::RequestField("referer")),
    ("user_agent", Source::RequestField("user-agent")),
    ("x_forwarded_for", Source::RequestField("x-forwarded-for")),
    ("node", Source::Text(Variable::Hostname)),
];

fn json_line(out: &mut Vec<u8>, facts: &Facts<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(facts.second.without_zone());
    out.push(b'.');
    push_padded(out, u64::from(facts.now.subsec_millis()), 3);
    out.extend_from_slice(b"Z\"");
    for (name, source) in MEMBERS {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match source {
            Source::Number(variable) => _ = facts.write(variable, &mut Sink::new(out, Escape::Json)),
            Source::Text(variable) => json_text(out, |sink| facts.write(variable, sink)),
            Source::RequestField(name) => json_text(out, |sink| facts.write_request_field(name, sink)),
            Source::Status => push_number(out, facts.outcome.status.into()),
        }
    }
    out.extend_from_slice(b"}\n");
}

/// A string, or null where there is no value.
fn json_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Sink<'_>) -> bool) {
    let start = out.len();
    out.push(b'"');
    if write(&mut Sink::new(out, Escape::Json)) {
        out.push(b'"');
    } else {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
