//! Every bound of the role that no configuration sets. Times are nginx's defaults where it has them.

use std::time::Duration;

/// A whole request head (nginx's `client_header_timeout`).
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two reads of a request body (`client_body_timeout`).
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two writes to a client (`send_timeout`).
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection without a request (`keepalive_timeout`).
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// An idle connection to an upstream (`keepalive_timeout` of an upstream).
pub(super) const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A request body in bytes (`client_max_body_size`).
pub(super) const BODY_MAX: u64 = 1 << 20;

/// After an answer that leaves input unread, a client is listened to for so long, and so long between two reads, that
/// it can read the answer before a reset throws it away (`lingering_time`, `lingering_timeout`).
pub(super) const LINGER_TOTAL: Duration = Duration::from_secs(30);
pub(super) const LINGER_IDLE: Duration = Duration::from_secs(5);
/// All the time there is for it while the worker drains.
pub(super) const LINGER_SLICE: Duration = Duration::from_millis(500);

/// Informational responses passed on before the final one; more is an upstream gone wrong.
pub(super) const INTERIM_MAX: u32 = 16;

/// Buffers in bytes: one for every active side; a large one where a body is long, since each system call moves a
/// buffer.
pub(super) const BUFFER: usize = 16 << 10;
pub(super) const LARGE_BUFFER: usize = 1 << 20;
/// A body with so many bytes to come gets a large buffer.
pub(super) const LARGE_FROM: u64 = 64 << 10;
/// Large buffers in use per worker; further transfers make do with small ones.
pub(super) const LARGE_BUFFERS_MAX: usize = 16;
/// Unused buffers kept per worker; the rest goes back to the system.
pub(super) const SPARE_BUFFERS: usize = 64;
pub(super) const SPARE_LARGE_BUFFERS: usize = 1;

/// Connections taken from a queue before the others get a turn.
pub(super) const ACCEPTS_PER_TURN: usize = 64;
/// Client connections per worker, where the limit of open files allows as many. Each may need a second descriptor.
pub(super) const CONNECTIONS_MAX: usize = 16_384;
/// So many siblings of a worker hold copies of its listening sockets, to accept in its place when it hangs: one hung
/// worker is likely, several at once are not, and descriptors are few.
pub(super) const RESCUERS: usize = 3;
/// Pause after accepting failed for want of descriptors or memory.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two warnings of that by one worker.
pub(super) const SHORTAGE_WARNING: Duration = Duration::from_secs(10);

/// How often PID 1 hears a beat.
pub(super) const BEAT: Duration = Duration::from_millis(50);
/// How often a worker's loop turns at the latest, in time for every beat.
pub(super) const TURN: Duration = Duration::from_millis(40);
/// A worker looks at the clock so often within the fence's bound.
pub(super) const TURNS_PER_FENCE_BOUND: u32 = 4;
pub(super) const TURN_MIN: Duration = Duration::from_millis(2);
/// The bound is so many of the shortest advertisement interval: after that time a peer may have taken over.
pub(super) const FENCE_INTERVALS: u32 = 3;
/// Without a verdict for so long, what waited is refused.
pub(super) const VERDICT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that has not sent its first request when the drain begins has so long to do so.
pub(super) const DRAIN_FIRST_REQUEST: Duration = Duration::from_millis(500);
/// How long requests in flight may take when PID 1 is gone without a word.
pub(super) const ORPHAN_DRAIN: Duration = Duration::from_secs(5);

/// Names are resolved again so often; after a failed connection at once, but not more often than the pause.
pub(super) const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);
pub(super) const RESOLVE_PAUSE: Duration = Duration::from_millis(250);
/// Addresses taken from one answer.
pub(super) const ADDRESSES_MAX: usize = 64;

/// Messages waiting for PID 1; for a worker; from workers. When one is full its reader hangs, which PID 1 finds out.
pub(super) const OUTBOX: usize = 256;
pub(super) const COMMANDS: usize = 64;
pub(super) const EVENTS: usize = 1024;

/// The admin endpoint: connections at once, the others waiting; for one request and its answer; for its head, and
/// that head in bytes; an answer in bytes, far more than a node with a thousand servers has to say.
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 32;
pub(super) const ADMIN_CONNECTION: Duration = Duration::from_secs(10);
pub(super) const ADMIN_HEADER: Duration = Duration::from_secs(5);
pub(super) const ADMIN_HEAD_MAX: usize = 16 << 10;
pub(super) const ADMIN_ANSWER_MAX: usize = 16 << 20;

/// Threads that wait for DNS: the C library's resolver blocks.
pub(super) const RESOLVER_THREADS: usize = 2;
/// Stack of a worker in bytes: connections live on the heap.
pub(super) const WORKER_STACK: usize = 1 << 20;
/// Workers that a configuration may ask for.
pub(super) const WORKERS_MAX: usize = 1024;
