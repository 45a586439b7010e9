//! The document as it is written: every object with its keys, their defaults and what they mean. These tables are the
//! only place that knows them; `docs/config.md` and `vipgate schema` are made from here.

use serde_json::json;

use super::argv::Argv;
use super::auth_hmac::AntiReplay;
use super::email::EmailEntry;
use super::field::{Field, Form, List, Map, Place, object};
use super::model::{AccessLog, Balance, LogFormat, LogLevel, VrrpVersion};
use super::proxy_values::{AdminListen, NextReason, RequestTemplate, Resolver, ResponseTemplate, Size};
use super::report::{Report, Reported};
use super::track_values::{CheckAddress, Weight};
use super::tree::{self, Value};
use super::values::{
    AuthModeChoice, AuthenticationType, Authority, CheckType, FileName, FilePath, Folder, HeaderName,
    HeaderValue, HostPort, Listen, Method, NodeName, Password, Peer, Profile, RetryReason, RoutePath,
    RouterName, ServerName, Target, Time, TimeOrNone, UpstreamName, Whole, Workers,
};
use super::webhook::Webhooks;
use crate::net::{Centiseconds, Cidr, InterfaceName, Priority, Vrid};

/// The longest bound that a wait of the proxy may have: a day, in milliseconds.
const DAY: u64 = 86_400_000;
/// The longest that connections may outlive the move of their address.
const HOUR: u64 = 3_600_000;

object! {
    /// The whole file. It is the same on every node; what differs comes from the environment.
    Document, "a configuration" {
        /// The name of this node in pages, logs and `status`. Left out or empty: the host name.
        node: Option<NodeName>,
        /// What is logged, to standard error.
        log: LogEntry = "{}",
        /// What is written to standard output for each request: combined as nginx writes it, json, off, or a text with
        /// nginx's variables. Their dollar signs are doubled here (`$$remote_addr`), a single one being the
        /// environment's.
        access_log: AccessLog = "combined",
        /// An HTTP endpoint for `/healthz`, `/status` and `/metrics`. Left out: there is none.
        admin: Option<AdminEntry>,
        /// Worker threads of the proxy; auto is one per usable CPU.
        workers: Workers = "auto",
        /// How long connections live on where they are, once this node stops or an address has moved to a peer: the peer
        /// hands their segments back for so long. Docker's `stop_grace_period` has to be a few seconds longer; it is 10s
        /// where the compose file does not say.
        drain_timeout: Time<500, HOUR> = "5s",
        /// Where changes of state are posted to.
        webhooks: Webhooks = "[]",
        /// Mails about changes of state. Left out: none.
        email: Option<EmailEntry>,
        /// How names of upstream servers are resolved.
        resolver: ResolverEntry = "{}",
        /// The link to the peers of the virtual routers. It needs a key.
        link: LinkEntry = "{}",
        /// Virtual routers, by name.
        vrrp: Map<VrrpEntry> = "{}",
        /// Virtual routers that are master together or not at all (keepalived's `vrrp_sync_group`), by name.
        sync_groups: Map<SyncGroupEntry> = "{}",
        /// Groups of servers to forward to, by name.
        upstreams: Map<UpstreamEntry> = "{}",
        /// Virtual hosts. The first one of an address answers the names that nobody has.
        servers: List<ServerEntry> = "[]",
    }
}

object! {
    /// Logging.
    LogEntry, "log settings" {
        /// The least important messages that are written.
        level: LogLevel = "info",
        /// Text for people, json for collectors.
        format: LogFormat = "text",
    }
}

object! {
    /// The admin endpoint: GET only. Whoever can reach it reads what `vipgate status` says.
    AdminEntry, "an admin endpoint" {
        /// Where it listens; a port alone is the loopback address's.
        listen: AdminListen = "9127",
    }
}

object! {
    /// Resolving names (nginx's `resolver`). Every address of an answer is a server of its own. A name that cannot be
    /// resolved never stops the start, and the last known addresses stay until there are others.
    ResolverEntry, "resolver settings" {
        /// Name servers. Left out: those of /etc/resolv.conf, which in a container is Docker's own.
        servers: Option<List<Resolver>>,
        /// How long an answer counts (nginx's `valid`); after a failed connection the name is asked for at once
        /// whatever this says. Left out: as long as the answer says, but at least 1s and at most 10s, because Docker
        /// says 10m for what can change in a second.
        valid: Option<Time<1_000, DAY>>,
        /// Until a name server has answered (nginx's `resolver_timeout`).
        timeout: Time<10, 300_000> = "5s",
    }
}

object! {
    /// The link to the peers: what adverts cannot say, signed. Over it a crash is noticed within milliseconds, and a late
    /// peer is told from a dead one. Without a key it is off, and everything works at the speed of VRRP's timers.
    LinkEntry, "link settings" {
        /// The TCP port at which the nodes listen for each other, at their own addresses; the same on every node.
        port: Whole<1, 65_535> = "9112",
        /// A file with the key, the same on every node, of at least 32 bytes; during a change of keys with two, between
        /// white space, of which the first signs and both are accepted. It is read again when it changes. Left out, or
        /// where there is no such file: the variable `VIPGATE_LINK_KEY` holds the same.
        key_file: Option<FilePath>,
        /// Take the orders of `vipgate drill`, from any address: to hand an address over, and to stand still for up to 10s.
        /// Whoever has the key can give them.
        drill: bool = "false",
    }
}

object! {
    /// One virtual router: addresses that move between nodes (keepalived's `vrrp_instance`).
    VrrpEntry, "a virtual router" {
        /// Version of the protocol; 2 for old peers.
        version: VrrpVersion = "3",
        /// Virtual router identifier, the same on every node of the group. IPv4 and IPv6 have numbers of their own.
        vrid: Vrid,
        /// The node with the highest one is master; 255 owns the addresses.
        priority: Priority = "100",
        /// How soon a silent master is noticed, where `advert_interval` is left out: it speaks every 20ms if `link` has a
        /// key when the configuration is read, so that peers can ask before they take over, every 100ms if it has none, and
        /// with `fast` every 10ms, which doubles what an idle node costs. Version 2 knows whole seconds only and has no
        /// fast.
        profile: Profile = "normal",
        /// How often the master speaks; wins over `profile`. Left out: as `profile` says, or 1s with version 2. A backup
        /// takes over after three intervals, by the interval that the master uses, and where it has a link to the master,
        /// it asks first and waits for one more; of several backups the best is first by a bit. Backups of version 3,
        /// keepalived's too, adopt the master's.
        advert_interval: Option<Centiseconds>,
        /// Whether a node with a higher priority takes over from a master that is alive.
        preempt: bool = "true",
        /// How long a master with a lower priority is left alone once it has been heard (keepalived's `preempt_delay`).
        /// One that gives up or falls silent is replaced at once; the owner of the addresses never waits.
        preempt_delay: Time<0, 1_000_000> = "0s",
        /// The addresses that move, all IPv4 or all IPv6; without a prefix length, the address alone is meant. Of IPv6 the
        /// first is link-local (RFC 9568 section 5.2.9); where none is, one is put there that is made out of `vrid`.
        virtual_addresses: List<Cidr>,
        /// The subnet whose interface carries the virtual addresses. Left out: the one that contains the first that is
        /// not link-local.
        subnet: Option<Cidr>,
        /// The interface that carries the virtual addresses. Left out: found by the subnet, under whatever name.
        interface: Option<InterfaceName>,
        /// Every node of the group, as addresses or service names; a node skips itself. Left out: multicast.
        peers: Option<List<Peer>>,
        /// Authentication of version 2.
        authentication: Option<AuthenticationEntry>,
        /// Adverts that only a holder of a key can make, and nobody can repeat (keepalived's `auth_hmac`, 2.4.2 and
        /// later). Left out: between unicast peers that have a link, and tell each other over it that they can, under
        /// keys that are derived from the link's; not in a group, nor beside `authentication`.
        auth_hmac: Option<AuthHmacEntry>,
        /// What the priority depends on. The priority that counts is the configured one with all weights that apply, at
        /// least 1 and at most 254; that of the owner, 255, never changes.
        track: List<TrackEntry> = "[]",
        /// How long the kernel keeps a virtual address after this process was frozen or died; whole seconds.
        lease: Time<1_000, 60_000> = "1s",
        /// What is started when this node has become master, as `[program, argument, ..]`; no shell is asked.
        notify_master: Option<Argv>,
        /// The same for backup.
        notify_backup: Option<Argv>,
        /// The same for a node that cannot stand for election.
        notify_fault: Option<Argv>,
        /// The same for the stop of vipgate, and for a virtual router that an edit removes.
        notify_stop: Option<Argv>,
        /// The same for each of them, after the one above, with the arguments `INSTANCE`, the name of the virtual
        /// router, its state and its priority behind its own.
        notify: Option<Argv>,
        /// Whether its changes of state are sent as mails; see `email`.
        smtp_alert: bool = "false",
        /// SIGTERM for such a program and all that it has started after so long, SIGKILL two seconds later.
        notify_timeout: Time<100, 3_600_000> = "30s",
    }
}

object! {
    /// One of `interface`, `file`, `tcp`, `http`, `command` and `upstream`, with keepalived's arithmetic.
    TrackEntry, "a track" {
        /// An interface, which has to be there, up, and to have a carrier (keepalived's `track_interface`).
        interface: Option<InterfaceName>,
        /// A file whose first line is a number, which is multiplied by `weight` and added (keepalived's `track_file`). A
        /// product below -253 is a fault. With `weight: 0`, any number but 0 is one. A file that is missing, or has no
        /// number, counts as 0. Absolute or relative to the config file's folder.
        file: Option<FilePath>,
        /// An address to which a connection can be made.
        tcp: Option<CheckAddress>,
        /// An address that answers a GET with 2xx or 3xx.
        http: Option<CheckAddress>,
        /// A program that ends with exit code 0, as `[program, argument, ..]` (keepalived's `track_script`). No shell is
        /// asked, and it is run as `notify` programs are, without a capability.
        command: Option<Argv>,
        /// An upstream of which a server is up. It needs a `check` to know.
        upstream: Option<UpstreamName>,
        /// What is asked for; http only.
        uri: Target = "/",
        /// The request's Host header; http only. Left out: the address.
        host: Option<Authority>,
        /// 0: a failure is a fault, and this node gives the addresses up. Above 0: added to the priority as long as all
        /// is well. Below 0: taken away while it is not. Left out: 0, and 1 for a file.
        weight: Option<Weight>,
        /// Between two checks; also how often a file is read.
        interval: Time<10, DAY> = "1s",
        /// For one check. Left out: as long as `interval`. A command gets SIGTERM then, and SIGKILL two seconds later.
        timeout: Option<Time<10, DAY>>,
        /// Successes in a row that end a failure; the first check ever decides alone.
        rise: Whole<1, 1_000> = "1",
        /// Failures in a row that make one.
        fall: Whole<1, 1_000> = "1",
        /// Whether it counts as failed before the first check, and until it has passed `rise` times. Otherwise nothing is
        /// added or taken away before the first check; with `weight: 0`, the node does not stand before it.
        init_fail: bool = "false",
    }
}

object! {
    /// A sync group: if one of its members is in fault, all are; one becomes master when all can.
    SyncGroupEntry, "a sync group" {
        /// The names of two virtual routers or more.
        members: List<RouterName>,
    }
}

object! {
    /// Authentication of VRRP version 2: it protects against mistakes, not against attackers, who can read it.
    AuthenticationEntry, "an authentication" {
        /// The only type that is spoken.
        r#type: AuthenticationType = "pass",
        /// The same on every node, 1 to 8 bytes.
        password: Password,
    }
}

object! {
    /// A trailer behind each advert, for both versions, under keys that are the same on every node. A keepalived before
    /// 2.4.2 drops adverts that have one, and then takes the addresses.
    AuthHmacEntry, "an auth_hmac" {
        /// All keys that are accepted; for a change of keys add one on every node, then make it the active one on every
        /// node, then remove the other one.
        keys: List<AuthHmacKeyEntry> = "[]",
        /// The key that signs, by its id. Left out: the first one.
        active_key: Option<Whole<1, 255>>,
        /// What keeps a recorded advert from being used again: time, which needs clocks that agree to within
        /// `time_window`, or monotonic, which only asks that each advert be later than the one before it from the same
        /// sender, so that a node that has just started can be deceived by old ones.
        anti_replay: AntiReplay = "time",
        /// How far a sender's clock may be from this node's, whole seconds. Left out: three advertisement intervals, and
        /// at least 5s.
        time_window: Option<Time<1_000, 300_000>>,
        /// enforce: adverts without a trailer are dropped. permissive: they are taken; for the time in which only some
        /// nodes sign. receive-only: they are taken, and this node sends none; for the time before that. A trailer that
        /// is wrong is never taken. off: without keys, no trailers at all.
        mode: AuthModeChoice = "enforce",
    }
}

object! {
    /// A key of `auth_hmac`.
    AuthHmacKeyEntry, "a key" {
        /// Its number, the same on every node.
        id: Whole<1, 255>,
        /// A file with `hex:` and hexadecimal digits, or with the key itself, as keepalived's `file:` has it; 32 to 64
        /// bytes. It is read again when it changes.
        key_file: FilePath,
    }
}

object! {
    /// A group of servers (nginx's `upstream`, HAProxy's `backend`).
    UpstreamEntry, "an upstream" {
        /// Its servers.
        servers: List<UpstreamServerEntry>,
        /// Who is next, with nginx's algorithms: round_robin (smooth, weighted), least_conn, random (the less busy of
        /// two drawn by chance), ip_hash (the same client, the same server).
        balance: Balance = "round_robin",
        /// Active health check. Left out: every server is always in rotation.
        check: Option<CheckEntry>,
        /// Which failures let a request be tried at a server that it has not been tried at (nginx's
        /// `proxy_next_upstream`): error, timeout, invalid_header, http_500, http_502, http_503, http_504, http_403,
        /// http_404, http_429; non_idempotent adds POST and PATCH, which may then be processed twice. off: none. Nothing
        /// is tried again once a byte of an answer went out.
        next_upstream: List<NextReason> = "[error, timeout]",
        /// Servers tried at most, the first one included; 0: all (nginx's `proxy_next_upstream_tries`).
        next_upstream_tries: Whole<0, 1_000> = "0",
        /// No other server is tried after so long (nginx's `proxy_next_upstream_timeout`).
        next_upstream_timeout: TimeOrNone<1, DAY> = "none",
        /// Further tries at the same server, before another one's turn comes (HAProxy's `retries`).
        retries: Whole<0, 100> = "0",
        /// Whether the last of the `retries` may go to another server (HAProxy's `option redispatch`).
        redispatch: bool = "false",
        /// Which failures count for `retries`, if the request may be repeated and has no body (HAProxy's `retry-on`).
        retry_on: List<RetryReason> = "[conn_failure]",
        /// How long to wait for what.
        timeouts: TimeoutsEntry = "{}",
        /// Idle connections kept per worker; 0: each request has a connection of its own.
        keepalive: Whole<0, 10_000> = "32",
        /// Requests that one connection carries at most.
        keepalive_requests: Whole<1, 1_000_000_000> = "1000",
        /// How long a connection may be idle.
        keepalive_timeout: Time<1, DAY> = "60s",
    }
}

object! {
    /// One server of an upstream. A text alone is its address.
    WeightedServerEntry, "an upstream server" {
        /// Address or service name, with a port.
        address: HostPort,
        /// Its share of the requests, compared with the others.
        weight: Whole<1, 65_535> = "1",
        /// It is asked only when no other server can be. Not with ip_hash and random.
        backup: bool = "false",
        /// It is not asked at all.
        down: bool = "false",
        /// Requests that a worker has under way there at once; 0: no limit.
        max_conns: Whole<0, 1_000_000> = "0",
        /// Failures within `fail_timeout` after which it is passed over for as long; then one request tries whether it
        /// is back. 0: it is never passed over, and neither is the only server of an upstream.
        max_fails: Whole<0, 1_000_000> = "1",
        /// See `max_fails`.
        fail_timeout: Time<1_000, DAY> = "10s",
    }
}

/// `app:80`, or a mapping with its weight.
pub(super) struct UpstreamServerEntry(pub(super) WeightedServerEntry);

impl Field for UpstreamServerEntry {
    fn form() -> Form {
        let (short, long) = (HostPort::form(), WeightedServerEntry::form());
        let words = format!("{}, or {}", short.words, long.words);
        Form { words, schema: json!({ "anyOf": [short.schema, long.schema] }), object: long.object }
    }

    fn read(place: Place<'_>, report: &mut Report<'_>) -> Result<Self, Reported> {
        match &place.node.value {
            Value::Scalar(text) => {
                let long = tree::entry("address", text, place.node.span);
                WeightedServerEntry::read(Place { node: &long, ..place }, report).map(Self)
            }
            _ => WeightedServerEntry::read(place, report).map(Self),
        }
    }
}

object! {
    /// Active health check with HAProxy's counters.
    CheckEntry, "a check" {
        /// tcp: a connection is made and closed. http: a request is sent, and 2xx and 3xx pass.
        r#type: CheckType = "tcp",
        /// Of the request; http only.
        method: Method = "GET",
        /// Of the request; http only.
        uri: Target = "/",
        /// The request's Host header; http only. Left out: the upstream's name.
        host: Option<Authority>,
        /// Between two checks.
        inter: Time<10, DAY> = "2s",
        /// For one check. Left out: as long as `inter`.
        timeout: Option<Time<10, DAY>>,
        /// Successes in a row that bring a server back; the first one ever suffices.
        rise: Whole<1, 1_000> = "2",
        /// Failures in a row that take a server out.
        fall: Whole<1, 1_000> = "3",
    }
}

object! {
    /// How long the proxy waits for an upstream server.
    TimeoutsEntry, "timeouts" {
        /// Until a connection is made.
        connect: Time<1, DAY> = "60s",
        /// Until the first byte of the answer to a GET or HEAD, which is then tried again on a new connection if
        /// `retry_on` says so. none: `read` is the only bound.
        first_byte: TimeOrNone<1, DAY> = "none",
        /// Between two reads (nginx's `proxy_read_timeout`).
        read: Time<1, DAY> = "60s",
        /// Between two writes (nginx's `proxy_send_timeout`).
        send: Time<1, DAY> = "60s",
    }
}

object! {
    /// A virtual host (nginx's `server`).
    ServerEntry, "a server" {
        /// Addresses with ports; a port alone listens on every IPv4 address.
        listen: List<Listen>,
        /// The names it answers for. Left out: every name that no other server on the address has; if all have
        /// names, the first one answers for the others.
        server_names: List<ServerName> = "[]",
        /// Sent with every answer (nginx's `add_header .. always`).
        add_headers: Map<ResponseTemplate> = "{}",
        /// Own pages for errors that this node answers with (nginx's `error_page`).
        error_pages: List<ErrorPageEntry> = "[]",
        /// Until a whole request head has come; else 408. Of the first server of an address where it matters before the
        /// name is known; so are the next two.
        client_header_timeout: Time<1, DAY> = "60s",
        /// How long a connection may wait for its next request; 0s: each carries one only.
        keepalive_timeout: Time<0, DAY> = "75s",
        /// Requests that one connection carries at most.
        keepalive_requests: Whole<1, 1_000_000_000> = "1000",
        /// Between two reads of a request's body; else 408.
        client_body_timeout: Time<1, DAY> = "60s",
        /// Between two writes to a client.
        send_timeout: Time<1, DAY> = "60s",
        /// Longest body of a request; else 413. 0: no limit.
        client_max_body_size: Size = "1m",
        /// What is answered to which path.
        routes: List<RouteEntry>,
    }
}

object! {
    /// What is answered to a path (nginx's `location`): one of `path` and `exact`, and one of `files`, `proxy` and
    /// `respond`. An exact match wins, else the longest prefix.
    RouteEntry, "a route" {
        /// The paths that start like this. Where they are forwarded and this ends with a slash, the same path without it
        /// is answered with 301 to the one with it.
        path: Option<RoutePath>,
        /// This path only.
        exact: Option<RoutePath>,
        /// Files of a folder.
        files: Option<FilesEntry>,
        /// Forwarding to an upstream.
        proxy: Option<ProxyEntry>,
        /// A fixed answer.
        respond: Option<RespondEntry>,
        /// Sent with every answer of this route, after those of the server.
        add_headers: Map<ResponseTemplate> = "{}",
        /// Longest body of a request here. Left out: the server's.
        client_max_body_size: Option<Size>,
        /// Whether its requests are in the access log.
        access_log: bool = "true",
    }
}

object! {
    /// A page for some errors.
    ErrorPageEntry, "an error page" {
        /// The statuses that it is for.
        status: List<Whole<400, 599>>,
        /// An HTML file, absolute or relative to the config file's folder. It is read with the configuration.
        file: FilePath,
    }
}

object! {
    /// The file beneath `root` that the whole path names. Ranges (up to 16 in a request) and conditional requests are
    /// understood. A file is replaced by renaming a new one over it: whoever is being sent the old one gets it whole.
    /// One that is written to in place while it is sent is never passed off as whole: the connection is reset, or,
    /// where nothing has been sent yet, the answer is 503 with `Retry-After`.
    FilesEntry, "files" {
        /// A folder, absolute or relative to the config file's.
        root: Folder,
        /// The file that answers for a folder.
        index: FileName = "index.html",
    }
}

object! {
    /// Forwarding.
    ProxyEntry, "forwarding" {
        /// The name of an upstream.
        upstream: UpstreamName,
        /// What takes the place of the route's path in what is asked for, as the path in nginx's `proxy_pass`. Left
        /// out: the request's own target goes on byte for byte.
        uri: Option<Target>,
        /// Header fields of the request to set (nginx's `proxy_set_header`); an empty value removes one. A variable of
        /// the request is written with two dollar signs: `X-Client: $$remote_addr`. Host is passed on as it came,
        /// unless it is set here.
        set_headers: Map<RequestTemplate> = "{}",
        /// Header fields of the response that the client does not get (nginx's `proxy_hide_header`).
        hide_headers: List<HeaderName> = "[]",
        /// Whether `Forwarded` (RFC 7239) is sent as well as X-Forwarded-For, -Proto and -Host.
        forwarded: bool = "false",
        /// Whether this proxy names itself in `Via` (RFC 9110 section 7.6.3). Some servers and caches act differently
        /// on it, so that it is off as with nginx.
        via: bool = "false",
    }
}

object! {
    /// A fixed answer (nginx's `return`).
    RespondEntry, "an answer" {
        /// HTTP status.
        status: Whole<200, 599> = "200",
        /// Its Content-Type.
        r#type: HeaderValue = "text/plain; charset=utf-8",
        /// Its body.
        body: String = "''",
    }
}
