//! redlock.h - distributed locks over N independent Redis masters.
//!
//! A lock is a lease: a key that a majority of N independent Redis masters hold for ttl_ms milliseconds,
//! usable until a moment that this library computes on this machine's clock. The smallest program:
//!
//! ```c
//! redlock_t *rl = NULL;
//! redlock_lease_t *lease = NULL;
//! redlock_error_t *err = NULL;
//! const char *nodes[] = {
//!     "redis://127.0.0.1:7001",
//!     "redis://127.0.0.1:7002",
//!     "redis://127.0.0.1:7003",
//! };
//!
//! if (redlock_new(nodes, 3, NULL, &rl, &err) != REDLOCK_OK) {
//!     fprintf(stderr, "%s\n", redlock_error_message(err));
//!     redlock_error_free(err);
//!     return 1;
//! }
//! if (redlock_lock(rl, "orders/42", 10000 /* ttl_ms */, 5000 /* wait_ms */, &lease, &err) == REDLOCK_OK) {
//!     ship_order(42); /* check redlock_lease_remaining_ms(lease) in long work */
//!     redlock_unlock(lease, NULL);
//!     redlock_lease_free(lease);
//! } else {
//!     fprintf(stderr, "%s\n", redlock_error_message(err));
//!     redlock_error_free(err);
//! }
//! redlock_free(rl);
//! ```
//!
//! Compile with `pkg-config --cflags --libs redlock`, or with -lredlock. Programs that load the library at run time open
//! `libredlock.so.0`. It exists for Linux only. include/redlock.json describes the same interface for programs.
//!
//! # What a lease promises
//!
//! While a lease is held and its time is not over, no other client that follows the same rules gets the same
//! lock, as long as
//!   - of the h nodes that hold it (redlock_lease_node_count_held()) fewer than h - (N-1)/2, rounded down, lose
//!     their state or have their clock stepped: fewer than a quorum (N/2 + 1) when all N hold it,
//!   - the rates of all clocks stay within the drift that was configured, and
//!   - the holder acts before the lease is over: check redlock_lease_remaining_ms() before each step of
//!     long work.
//!
//! A process that is stopped after such a check can still act late. Only the resource itself can reject that, by
//! a fencing token: redlock_lease_fence().
//!
//! All clients must use the same list of nodes and the same longest ttl. To replace a node, add the new one at every
//! client, wait for the longest ttl, and then remove the old one: two lists that differ by one replaced node have
//! majorities that do not meet. The nodes are independent masters: no replicas that get promoted, no proxy, no eviction, no FLUSH. A
//! timeout means "maybe locked": in the worst case the resource stays locked until the TTL expires. If a holder crashes,
//! the lock stays taken until its TTL expires. Processes get the lock in no promised order. Locks are not re-entrant: a thread that wants a resource which
//! its own process holds waits for it like anybody else.
//!
//! # Objects
//!
//! All types are opaque. What a function hands out through an out parameter, or returns from a `_new`, belongs
//! to the caller and is given back with the `_free` of its type, once; `_free(NULL)` does nothing and no
//! `_free` fails. Objects may be freed in any order: a lease keeps what it needs of its handle. Using a pointer
//! after its own `_free` is undefined, as in any C library.
//!
//! The library copies what it is given: strings, bytes, options and requests may be changed or freed as soon
//! as the call has returned. Pointers that getters return are borrowed: they live as long as the object they
//! were asked of and are never freed by the caller.
//!
//! # Strings and bytes
//!
//! `const char *` parameters end with NUL. Resources and tokens may hold any bytes: for each function that
//! takes them as strings there is one whose name ends in `_bytes` and which takes pointer and length. Getters
//! of resources and tokens return bytes that are followed by a NUL, and their length where it is wanted.
//!
//! # Results and errors
//!
//! Functions that can fail return a redlock_status_t: REDLOCK_OK (0) or one of the negative REDLOCK_E_ values.
//! The last parameter of most of them is `redlock_error_t **error`, in which details are offered: NULL means
//! that they are not wanted. On failure it receives a new error object, to be freed with redlock_error_free();
//! what it held before is overwritten, not freed. On success it is untouched. All other outputs are written on
//! success only, and are untouched on failure.
//!
//! NULL where it is not allowed, or a number out of its range, is REDLOCK_E_INVALID. Getters have no status:
//! each says what it returns for NULL. A bug in the library never ends the process: the call returns
//! REDLOCK_E_INTERNAL, and so does every later call on the same handle and its leases.
//!
//! # Threads
//!
//! `const` on a parameter means that any number of threads may use the object at the same time, and not that
//! the call changes nothing; a parameter without `const` must not be in use elsewhere. There is no global and
//! no per-thread state. Handles and leases may be used by all threads at once; one handle per process is
//! enough for any number of them, and keeps one connection to each node.
//!
//! Nothing here calls back into the program. Functions never wait for a node, a timer or another thread's wait, except
//! those whose comment says `Waits:` and for how long at most; runtimes with a global lock release it around these. No
//! lock of the library is held while a call waits.
//!
//! # Time
//!
//! Units are in the names. `ttl_ms` is the life of the key on the servers, `wait_ms` how long the caller is
//! ready to wait for others: 0 makes one attempt, -1 waits without limit. Lease time goes on while the machine
//! is suspended.
//!
//! # Fork and signals
//!
//! After fork() the handles and leases of the parent return REDLOCK_E_FORKED in the child, where freeing them
//! only closes descriptors: make a new handle there. The library raises no SIGPIPE, installs no signal handler
//! and opens every descriptor close-on-exec.
//!
//! A signal handler that runs in a thread that waits ends the wait with REDLOCK_E_INTERRUPTED, unless
//! redlock_options_set_interruptible() says otherwise; no key is left behind. During such a wait the thread holds signals
//! back except while it sleeps, so that none goes unnoticed. An interrupted wait loses its place among the callers of the
//! same handle. Of the functions here only redlock_canceller_cancel() and redlock_canceller_is_cancelled() are
//! async-signal-safe: a handler either sets a flag of the program's, or cancels. A signal that another thread handles ends
//! nothing. Runtimes that use signals for themselves (Go, profilers, terminals that resize) set interruptible to 0 and use
//! cancellers.
//!
//! In languages where an exception may strike between the return of a function and the assignment of its result, set the
//! out pointer to NULL before the call and read it in `finally` or `ensure`.
//!
//! The library has no threads of its own, with two exceptions, in which all signals are blocked: while a host name is
//! looked up, and from the first lease that extends itself in a blocking call until redlock_close() or redlock_free().

// One file per noun of the C interface; `build.rs` turns them into the sections of the header, in its own order.
// `guard` and `pointer` are what all of them stand on: no panic leaves a function, and no raw pointer gets past the
// first lines of one.
#![allow(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]
// Each function's comment is written for C and says there what is asked of the caller.
#![allow(clippy::missing_safety_doc)]
// The names of the C interface.
#![allow(non_camel_case_types)]

mod arguments;
mod canceller;
mod error;
mod event;
mod event_loop;
mod guard;
mod handle;
mod inspect;
mod lease;
mod options;
mod outcome;
mod pointer;
mod read;
mod request;
mod stats;
mod status;
mod submit;
#[cfg(test)]
mod tests;
mod token;
mod version;

pub use canceller::*;
pub use error::*;
pub use event::*;
pub use event_loop::*;
pub use handle::*;
pub use inspect::*;
pub use lease::*;
pub use options::*;
pub use outcome::*;
pub use request::*;
pub use stats::*;
pub use status::*;
pub use submit::*;
pub use token::*;
pub use version::*;
