//! One line for each event, on standard error, each with the role that speaks.

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// The level in force; there is one log in a process.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();
static JSON: AtomicBool = AtomicBool::new(false);

/// Lines that wait for a reader of standard error; beyond it they are lost.
const WAITING_LINES: usize = 1024;

/// Text at level info, until a configuration says otherwise. Only the first call of a process counts.
///
/// Nobody waits for whoever reads standard error: a log driver that stands still must cost lines, never the address. A
/// thread writes, so this comes after the process has given up what it does not need. Dropping what is returned writes
/// what is left.
pub fn start(role: &'static str) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let (level, handle) = reload::Layer::new(LevelFilter::INFO);
    let lines =
        tracing_subscriber::fmt::layer().event_format(Line { role }).with_ansi(false).with_writer(writer);
    if tracing_subscriber::registry().with(level).with(lines).try_init().is_ok() {
        let _ = LEVEL.set(handle);
    }
    guard
}

pub fn apply(log: Log) {
    JSON.store(log.format == LogFormat::Json, Ordering::Relaxed);
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Without `start` there is no log to change.
    let _ = LEVEL.get().map(|handle| handle.modify(|current| *current = level));
}

struct Line {
    role: &'static str,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = event.metadata().level();
        if JSON.load(Ordering::Relaxed) {
            let mut time = String::new();
            SystemTime.format_time(&mut Writer::new(&mut time))?;
            let mut fields = Fields(Map::new());
            fields.0.insert("time".into(), time.into());
            fields.0.insert("level".into(), level.as_str().into());
            fields.0.insert("role".into(), self.role.into());
            event.record(&mut fields);
            return writeln!(writer, "{}", Value::Object(fields.0));
        }
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {level:>5} {}: ", self.role)?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The fields of one event; what JSON has no form for is text.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}
