//! Every bound of the role that no configuration sets. Times are nginx's defaults where it has them.

use std::time::Duration;

/// A connection to an upstream is not used any more after so long (`keepalive_time` of an upstream).
pub(super) const UPSTREAM_AGE_MAX: Duration = Duration::from_secs(3600);

/// A connection that has been silent for so long gives back all it holds for a busy spell.
pub(super) const IDLE_GRACE: Duration = Duration::from_millis(100);
/// An answer that takes longer is worth a look at whether its client is still there, where that costs something.
pub(super) const FRESH_PATIENCE: Duration = Duration::from_millis(100);

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
/// A body with so many bytes to come gets a large buffer: more than a small one holds.
pub(super) const LARGE_FROM: u64 = BUFFER as u64;
/// So much of a body is copied behind its head; what is longer is written from where it is.
pub(super) const COPIED_MAX: usize = 4 << 10;
/// Large buffers in use per worker; further transfers make do with small ones.
pub(super) const LARGE_BUFFERS_MAX: usize = 16;
/// Unused buffers kept per worker; the rest goes back to the system, as do those that were not needed for a while.
pub(super) const SPARE_BUFFERS: usize = 128;
pub(super) const SPARE_LARGE_BUFFERS: usize = 1;
/// A body of known length with so many bytes to come goes through a pipe, of so many bytes; pipes in use per worker.
pub(super) const PIPED_FROM: u64 = 128 << 10;
pub(super) const PIPE: usize = 256 << 10;
pub(super) const PIPES_MAX: usize = 32;
/// Memory of heads' fields kept per worker.
pub(super) const SPARE_FIELDS: usize = 512;

/// A file that was written to within this time may be in the middle of it, and the next write may leave its times as
/// they are: the kernel's clock for files moves every 10 ms at worst. Within so many looks it has to come to rest.
pub(super) const FILE_REST: Duration = Duration::from_millis(20);
pub(super) const FILE_LOOKS: u32 = 5;
/// Reads that have to wait for a disk: threads per worker for them, bytes of each, and how long one may take.
pub(super) const FILE_THREADS: usize = 4;
pub(super) const FILE_READ_MAX: usize = 128 << 10;
pub(super) const FILE_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests of one connection answered before the others get a turn.
pub(super) const PIPELINED_PER_TURN: u32 = 32;
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
pub(super) const TURN: Duration = Duration::from_millis(25);
/// Between two looks at the deadlines of all connections, of thousands of which one may be over in every millisecond.
pub(super) const SWEEP: Duration = Duration::from_millis(10);
/// A worker whose loop has not turned for so long hangs: its siblings accept from its queue.
pub(super) const SIBLING_LATE: Duration = Duration::from_millis(50);
/// A worker looks at the clock so often within the fence's bound.
pub(super) const TURNS_PER_FENCE_BOUND: u32 = 4;
pub(super) const TURN_MIN: Duration = Duration::from_millis(2);
/// The bound is so many of the shortest advertisement interval: after that time a peer may have taken over.
pub(super) const FENCE_INTERVALS: u32 = 3;
/// Without a verdict for so long, what waited is refused.
pub(super) const VERDICT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection on which no request is under way when a stop begins has so long to bring one: closed at once, it would
/// lose what its client is about to send. All the time there is for it if a stop is to take less than a second.
pub(super) const DRAIN_IDLE: Duration = Duration::from_millis(500);
/// Where the node stays up, connections may come for so long that were made before their address moved: one without a
/// request waits in the kernel (deferred accept) until the handshake's answer is sent again, which is after a second.
pub(super) const DRAIN_SETTLE: Duration = Duration::from_millis(1500);
/// So long before the bound of a drain tunnels are closed, that both sides can say their last.
pub(super) const DRAIN_FAREWELL: Duration = Duration::from_millis(500);
/// How long the end of an idle connection waits for its client's.
pub(super) const IDLE_LINGER: Duration = Duration::from_millis(100);
/// How long requests in flight may take when PID 1 is gone without a word.
pub(super) const ORPHAN_DRAIN: Duration = Duration::from_secs(5);

/// A name is asked for when its last answer's time to live is over, but within these bounds: Docker says 600 s for what
/// can change in a second.
pub(super) const TTL_MIN: Duration = Duration::from_secs(1);
pub(super) const TTL_MAX: Duration = Duration::from_secs(10);
/// After a failed connection it is asked for at once, but with this pause between two questions.
pub(super) const RESOLVE_PAUSE: Duration = Duration::from_millis(250);
/// The same after a failure: the container that a name belongs to may be about to start.
pub(super) const RESOLVE_RETRY: Duration = Duration::from_secs(1);
/// A datagram may be lost: a name server that does not answer for so long is asked again, after the others.
pub(super) const NAME_TRY: Duration = Duration::from_secs(1);
/// Names asked for at the same time; each has a few sockets.
pub(super) const LOOKUPS_MAX: usize = 64;
/// Answers that match no question, until their sender is given up.
pub(super) const STRAY_ANSWERS_MAX: usize = 64;
/// Bytes read of /etc/hosts and /etc/resolv.conf.
pub(super) const NAME_FILE_MAX: u64 = 1 << 20;

/// The first checks of all servers begin within the shorter of this and their interval.
pub(super) const CHECKS_SPREAD_MAX: Duration = Duration::from_secs(5);

/// How long the end of the process waits for whoever reads the access log.
pub(super) const LOG_END: Duration = Duration::from_millis(500);

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

/// Stack of a worker in bytes: connections live on the heap.
pub(super) const WORKER_STACK: usize = 1 << 20;
/// Workers that a configuration may ask for.
pub(super) const WORKERS_MAX: usize = 1024;
