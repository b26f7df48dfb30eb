//! A handle on N nodes: the safe Rust API that the C ABI and the command line stand on.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::core::operation::{LockParams, Operation};
use crate::core::report::Status;
use crate::core::request::{Bytes, MAX_NODES};
use crate::core::stats::Stats;
use crate::net::stream::{Address, Endpoint};
use crate::net::tls::{TlsContext, TlsOptions};
use crate::redis::counter;
use crate::redis::handshake::Login;
use crate::redis::url::{self, NodeUrl, Secret};

use super::blocking::CallOptions;
use super::canceller::Canceller;
use super::error::Error;
use super::events::Event;
use super::inspection::Inspection;
use super::lease::Lease;
use super::link::Link;
use super::options::{KEY_BYTES_MAX, Options, TOKEN_BYTES_MAX, wait_ms};
use super::outcome::Success;
use super::owner::Owner;
use super::queue::{Submission, Work};
use super::shared::Shared;
use super::state::State;

/// N independent Redis masters, seen as one place to take locks. Clones share everything. All methods may be called
/// from any number of threads. When the last clone and the last of its leases are dropped, the handle is closed, as by
/// [`Redlock::close`].
#[derive(Clone)]
pub struct Redlock {
    shared: Arc<Owner>,
    prefix: Arc<[u8]>,
}

/// What to lock, and how.
#[derive(Debug, Clone)]
pub struct LockRequest {
    /// The resource; not empty.
    pub resource: Vec<u8>,
    /// Life of the lease in milliseconds.
    pub ttl_ms: u64,
    /// How long to wait for another holder, in milliseconds; 0: one attempt; −1: without limit.
    pub wait_ms: i64,
    /// Further attempts after the first; `None`: the handle's `retry_count`.
    pub retries: Option<u64>,
    /// The caller's own token, 1 to 256 bytes that nobody else uses; `None`: a fresh one for every attempt.
    pub token: Option<Vec<u8>>,
    /// What [`Redlock::cancel`] knows this call by; 0: nothing.
    pub tag: u64,
    /// The lease extends itself at a third of its validity, and its loss is noticed at once.
    pub auto_extend: bool,
    /// Such a lease is held for at most this long, in milliseconds; `None`: until it is released or lost.
    pub max_hold_ms: Option<u64>,
    /// A number comes with the lease that is larger than that of every earlier one on this resource:
    /// [`Lease::fence`](super::Lease::fence).
    pub fence: bool,
    /// A failed attempt may cost one more round trip to tell for how long others hold the lock.
    pub report_remaining: bool,
    /// The loss of a lease from [`Redlock::submit_lock`] is noticed at once, and not at its deadline only.
    pub watch: bool,
    /// What ends the operation from outside.
    pub canceller: Option<Canceller>,
}

impl Default for LockRequest {
    fn default() -> LockRequest {
        LockRequest {
            resource: Vec::new(),
            ttl_ms: 0,
            wait_ms: 0,
            retries: None,
            token: None,
            tag: 0,
            auto_extend: false,
            max_hold_ms: None,
            fence: false,
            report_remaining: false,
            watch: true,
            canceller: None,
        }
    }
}

impl Redlock {
    /// Makes a handle, begins to connect to all nodes and returns at once: nodes may be down and come up later.
    ///
    /// # Errors
    /// [`Status::Invalid`] for a bad option or no node; [`Status::Config`] for a bad URL, a node named twice, more
    /// than 15 nodes, or TLS files that cannot be used.
    pub fn new<S: AsRef<str>>(urls: &[S], options: &Options) -> Result<Redlock, Error> {
        options.validate().map_err(|reason| Error::plain(Status::Invalid, reason))?;
        if urls.is_empty() {
            return Err(Error::plain(Status::Invalid, "no node was named"));
        }
        if urls.len() > MAX_NODES {
            let reason = format!("{} nodes; at most {MAX_NODES} are supported", urls.len());
            return Err(Error::plain(Status::Config, reason));
        }
        let nodes = parse_urls(urls)?;
        let tls = tls_context(&nodes, options)?;
        let labels = nodes.iter().map(|node| Arc::from(node.label.as_str())).collect();
        let links = nodes.into_iter().map(|node| link(node, tls.as_ref(), options)).collect();
        let state = State::new(options.core_config(urls.len()), links);
        let shared = Shared::new(state, labels, options)
            .map_err(|error| Error::plain(Status::Internal, format!("no event descriptor: {error}")))?;
        shared.begin();
        Ok(Redlock { shared: Arc::new(Owner::new(shared)), prefix: Arc::from(&*options.key_prefix) })
    }

    /// Waits until a quorum of the nodes is connected, at most `timeout_ms` milliseconds (−1: without limit).
    ///
    /// # Errors
    /// [`Status::NoQuorum`] with the state of every node when the time is over; [`Status::Config`] as soon as too many
    /// nodes fail for reasons that only a person can cure.
    pub fn wait_ready(&self, timeout_ms: i64, canceller: Option<&Canceller>) -> Result<(), Error> {
        let wait_ms = wait_ms(timeout_ms)?;
        let options = CallOptions { tag: 0, is_wait: true, canceller };
        self.shared.call_with(Operation::Ready { wait_ms }, options).map(|_| ())
    }

    /// Acquires a lock.
    ///
    /// # Errors
    /// [`Status::NotAcquired`] when it is held and the wait is over, [`Status::NoQuorum`] when too few nodes answer,
    /// [`Status::Config`] when too many nodes refuse for reasons that only a person can cure, [`Status::Cancelled`],
    /// [`Status::Interrupted`], [`Status::Invalid`], [`Status::Forked`], [`Status::Closed`].
    pub fn lock(&self, request: &LockRequest) -> Result<Lease, Error> {
        let operation = self.lock_operation(request, false)?;
        let _wanted = match request.auto_extend {
            true => Some(self.shared.want_driver()?),
            false => None,
        };
        let options = CallOptions { tag: request.tag, is_wait: true, canceller: request.canceller.as_ref() };
        match self.shared.call_with(operation, options)? {
            Success::Locked { lease, token, fence, cell } => {
                let resource = request.resource.as_slice().into();
                Ok(Lease::new(Arc::clone(&self.shared), lease, cell, resource, token, fence))
            }
            Success::Done | Success::Inspected(_) => Err(Error::plain(Status::Internal, "a lock without a lease")),
        }
    }

    fn lock_operation(&self, request: &LockRequest, is_watched: bool) -> Result<Operation, Error> {
        let key = self.key(&request.resource)?;
        self.shared.check_ttl(request.ttl_ms)?;
        let token = request.token.as_deref().map(own_token).transpose()?;
        Ok(Operation::Lock(LockParams {
            key,
            ttl_ms: request.ttl_ms,
            wait_ms: wait_ms(request.wait_ms)?,
            retries: request.retries,
            token,
            explain: request.report_remaining,
            auto_extend: request.auto_extend,
            max_hold_ms: request.max_hold_ms,
            watch: is_watched,
            fence: request.fence,
        }))
    }

    /// Releases a lock that this or another process acquired, by its token.
    ///
    /// # Errors
    /// [`Status::Lost`] when a quorum of nodes does not have this token; [`Status::NoQuorum`], [`Status::Unknown`].
    pub fn unlock_token(&self, resource: &[u8], token: &[u8]) -> Result<(), Error> {
        let (key, token) = (self.key(resource)?, own_token(token)?);
        self.shared.call(Operation::UnlockToken { key, token }).map(|_| ())
    }

    /// Makes a lock last `ttl_ms` milliseconds from now, by its token; never shortens it.
    ///
    /// # Errors
    /// As [`Redlock::unlock_token`].
    pub fn extend_token(&self, resource: &[u8], token: &[u8], ttl_ms: u64) -> Result<(), Error> {
        let (key, token) = (self.key(resource)?, own_token(token)?);
        self.shared.check_ttl(ttl_ms)?;
        self.shared.call(Operation::ExtendToken { key, token, ttl_ms }).map(|_| ())
    }

    /// Reads who holds a lock and for how long. Changes nothing.
    ///
    /// # Errors
    /// [`Status::NoQuorum`] when too few nodes answer.
    pub fn inspect(&self, resource: &[u8]) -> Result<Inspection, Error> {
        let key = self.key(resource)?;
        match self.shared.call(Operation::Inspect { key })? {
            Success::Inspected(views) => Ok(Inspection::new(views, &self.shared.urls)),
            Success::Done | Success::Locked { .. } => {
                Err(Error::plain(Status::Internal, "an inspection without views"))
            }
        }
    }

    /// Ends every operation that carries `tag`; each ends with [`Status::Cancelled`] and leaves no key behind.
    /// Returns how many there were.
    ///
    /// # Errors
    /// [`Status::Invalid`] for tag 0, which no operation carries.
    pub fn cancel(&self, tag: u64) -> Result<usize, Error> {
        if tag == 0 {
            return Err(Error::plain(Status::Invalid, "tag 0 names no operation"));
        }
        self.shared.cancel(tag)
    }

    /// The descriptor of the event-loop API: poll it for reading, then call [`Redlock::process`]. Valid until the
    /// handle is gone; the same one every time.
    ///
    /// # Errors
    /// [`Status::Internal`] when no descriptor can be had; [`Status::Forked`].
    pub fn fd(&self) -> Result<RawFd, Error> {
        self.shared.fd()
    }

    /// How long a loop that cannot poll [`Redlock::fd`] may sleep before [`Redlock::process`] is due, in milliseconds;
    /// 0: now; −1: for ever.
    ///
    /// # Errors
    /// [`Status::Forked`], [`Status::Internal`].
    pub fn timeout_ms(&self) -> Result<i64, Error> {
        self.shared.timeout_ms()
    }

    /// Does what is due, without waiting: sends what was submitted, reads what has arrived, minds the timers.
    ///
    /// # Errors
    /// [`Status::Forked`], [`Status::Internal`].
    pub fn process(&self) -> Result<(), Error> {
        self.shared.process()
    }

    /// The next event; `None` when there is none, and then the descriptor is not readable for events any more.
    ///
    /// # Errors
    /// [`Status::Forked`], [`Status::Internal`].
    pub fn next_event(&self) -> Result<Option<Event>, Error> {
        Ok(self.shared.next_event()?.map(|fact| Event::new(fact, &self.shared)))
    }

    /// Submits [`Redlock::lock`]; its end is an [`Event::Done`] with `request.tag`.
    ///
    /// # Errors
    /// As [`Redlock::lock`] for its arguments; then there is no event.
    pub fn submit_lock(&self, request: &LockRequest) -> Result<(), Error> {
        let operation = self.lock_operation(request, request.watch)?;
        let resource = request.resource.as_slice().into();
        let submission = Submission { tag: request.tag, work: Work::Lock, resource };
        self.shared.submit(operation, submission, request.canceller.as_ref())
    }

    /// Submits [`Redlock::unlock_token`].
    ///
    /// # Errors
    /// As that for its arguments; then there is no event.
    pub fn submit_unlock_token(&self, resource: &[u8], token: &[u8], tag: u64) -> Result<(), Error> {
        let (key, token) = (self.key(resource)?, own_token(token)?);
        self.shared.submit(Operation::UnlockToken { key, token }, Submission::plain(tag, Work::Unlock), None)
    }

    /// Submits [`Redlock::extend_token`].
    ///
    /// # Errors
    /// As that for its arguments; then there is no event.
    pub fn submit_extend_token(&self, resource: &[u8], token: &[u8], ttl_ms: u64, tag: u64) -> Result<(), Error> {
        let (key, token) = (self.key(resource)?, own_token(token)?);
        self.shared.check_ttl(ttl_ms)?;
        self.shared.submit(Operation::ExtendToken { key, token, ttl_ms }, Submission::plain(tag, Work::Extend), None)
    }

    /// Submits [`Redlock::inspect`].
    ///
    /// # Errors
    /// As that for its arguments; then there is no event.
    pub fn submit_inspect(&self, resource: &[u8], tag: u64) -> Result<(), Error> {
        let key = self.key(resource)?;
        self.shared.submit(Operation::Inspect { key }, Submission::plain(tag, Work::Inspect), None)
    }

    /// A copy of the counters.
    ///
    /// # Errors
    /// [`Status::Forked`], [`Status::Internal`].
    pub fn stats(&self) -> Result<Stats, Error> {
        self.shared.stats()
    }

    /// What a person should know about each node, in order: why it does not vote (no connection, no answer, restart
    /// guard), or what is wrong with it (it may evict locks; its restarts cannot be seen). Empty for a healthy one.
    ///
    /// # Errors
    /// [`Status::Forked`], [`Status::Internal`].
    pub fn node_notes(&self) -> Result<Vec<Box<str>>, Error> {
        self.shared.node_notes()
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.shared.urls.len()
    }

    /// A node's URL, without credentials.
    #[must_use]
    pub fn node_url(&self, node: usize) -> Option<&str> {
        self.shared.urls.get(node).map(|url| &**url)
    }

    /// Ends the calls in progress with [`Status::Closed`], waits at most `timeout_ms` milliseconds (−1: without limit) for
    /// connected nodes to confirm releases, and closes the connections. Every later call is [`Status::Closed`]; events can
    /// still be fetched. With `releases_leases` leases that are held are released, else they stay locked until their
    /// deadlines. Closing a closed handle does nothing.
    ///
    /// # Errors
    /// [`Status::Unknown`] when connected nodes have not confirmed every release in time; [`Status::Invalid`],
    /// [`Status::Forked`], [`Status::Internal`].
    pub fn close(&self, releases_leases: bool, timeout_ms: i64) -> Result<(), Error> {
        self.shared.close(releases_leases, wait_ms(timeout_ms)?)
    }

    /// Ends the handle as dropping it does: at once. What is queued is handed to the kernel, nobody is waited for. In a
    /// forked child the descriptors are closed and nothing is said to any node.
    pub fn end(&self) {
        self.shared.end();
    }

    /// Releases a lock by its token and does not wait: the outcome goes to the counters alone.
    ///
    /// # Errors
    /// [`Status::Invalid`], [`Status::Closed`], [`Status::Forked`], [`Status::Internal`].
    pub fn unlock_token_nowait(&self, resource: &[u8], token: &[u8]) -> Result<(), Error> {
        let (key, token) = (self.key(resource)?, own_token(token)?);
        self.shared.begin_unawaited(Operation::UnlockToken { key, token })
    }

    fn key(&self, resource: &[u8]) -> Result<Bytes, Error> {
        let invalid = |reason: String| Err(Error::plain(Status::Invalid, reason));
        let length = self.prefix.len() + resource.len();
        if resource.is_empty() {
            return invalid("the resource is empty".to_owned());
        }
        if length > KEY_BYTES_MAX {
            return invalid(format!("the key has {length} bytes; at most {KEY_BYTES_MAX} are allowed"));
        }
        if resource.ends_with(counter::SUFFIX) {
            return invalid("the resource ends like the name of a fencing counter".to_owned());
        }
        if self.prefix.is_empty() {
            return Ok(Bytes::from(resource));
        }
        Ok([&*self.prefix, resource].concat().into())
    }
}

impl fmt::Debug for Redlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redlock").field("nodes", &self.shared.urls).finish_non_exhaustive()
    }
}

fn own_token(token: &[u8]) -> Result<Bytes, Error> {
    if (1..=TOKEN_BYTES_MAX).contains(&token.len()) {
        Ok(Bytes::from(token))
    } else {
        let reason = format!("the token has {} bytes; 1 to {TOKEN_BYTES_MAX} are allowed", token.len());
        Err(Error::plain(Status::Invalid, reason))
    }
}

fn parse_urls<S: AsRef<str>>(urls: &[S]) -> Result<Vec<NodeUrl>, Error> {
    let mut nodes: Vec<NodeUrl> = Vec::with_capacity(urls.len());
    for (index, url) in urls.iter().enumerate() {
        let config = |reason: String| Error::plain(Status::Config, format!("node {}: {reason}", index + 1));
        let node = url::parse(url.as_ref()).map_err(config)?;
        if let Some(twin) = nodes.iter().position(|other| other.address == node.address) {
            return Err(config(format!("is the same server as node {}", twin + 1)));
        }
        nodes.push(node);
    }
    Ok(nodes)
}

fn tls_context(nodes: &[NodeUrl], options: &Options) -> Result<Option<Arc<TlsContext>>, Error> {
    if !nodes.iter().any(|node| node.tls) {
        return Ok(None);
    }
    let context = TlsContext::new(TlsOptions {
        ca_file: options.tls_ca_file.clone(),
        cert_file: options.tls_cert_file.clone(),
        key_file: options.tls_key_file.clone(),
        insecure: options.tls_insecure,
    });
    context.prepare().map_err(|fault| Error::plain(Status::Config, fault.text))?;
    Ok(Some(Arc::new(context)))
}

fn link(node: NodeUrl, tls: Option<&Arc<TlsContext>>, options: &Options) -> Link {
    let address = match node.address {
        url::Address::Tcp { host, port } => Address::Tcp { host, port },
        url::Address::Unix(path) => Address::Unix(path),
    };
    let has_own_login = node.password.is_some() || node.username.is_some();
    let login = Login {
        username: if has_own_login { node.username } else { options.username.clone() },
        password: node.password.or_else(|| options.password.clone().map(Secret::new)),
        db: node.db,
        client_name: options.client_name.clone(),
        protocol: node.protocol.unwrap_or(options.protocol),
        avoid_lua: options.avoid_lua,
        tracking: options.wake,
        ..Login::default()
    };
    let tls = tls.filter(|_| node.tls).map(Arc::clone);
    Link::new(Endpoint::new(address, tls), login, options.connect_timeout_ms)
}
