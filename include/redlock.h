// redlock.h - distributed locks over N independent Redis masters.
//
// A lock is a lease: a key that a majority of N independent Redis masters hold for ttl_ms milliseconds,
// usable until a moment that this library computes on this machine's clock. The smallest program:
//
//     redlock_t *rl = NULL;
//     redlock_lease_t *lease = NULL;
//     redlock_error_t *err = NULL;
//     const char *nodes[] = {
//         "redis://127.0.0.1:7001",
//         "redis://127.0.0.1:7002",
//         "redis://127.0.0.1:7003",
//     };
//
//     if (redlock_new(nodes, 3, NULL, &rl, &err) != REDLOCK_OK) {
//         fprintf(stderr, "%s\n", redlock_error_message(err));
//         redlock_error_free(err);
//         return 1;
//     }
//     if (redlock_lock(rl, "orders/42", 10000 /* ttl_ms */, 5000 /* wait_ms */, &lease, &err) == REDLOCK_OK) {
//         ship_order(42); /* check redlock_lease_remaining_ms(lease) in long work */
//         redlock_unlock(lease, NULL);
//         redlock_lease_free(lease);
//     } else {
//         fprintf(stderr, "%s\n", redlock_error_message(err));
//         redlock_error_free(err);
//     }
//     redlock_free(rl);
//
// Compile with `pkg-config --cflags --libs redlock`, or with -lredlock. Programs that load the library at run time open
// `libredlock.so.0`. It exists for Linux only. include/redlock.json describes the same interface for programs.
//
// == What a lease promises
//
// While a lease is held and its time is not over, no other client that follows the same rules gets the same
// lock, as long as
//   - of the h nodes that hold it (redlock_lease_node_count_held()) fewer than h - (N-1)/2, rounded down, lose
//     their state or have their clock stepped: fewer than a quorum (N/2 + 1) when all N hold it,
//   - the rates of all clocks stay within the drift that was configured, and
//   - the holder acts before the lease is over: check redlock_lease_remaining_ms() before each step of
//     long work.
//
// A process that is stopped after such a check can still act late. Only the resource itself can reject that, by
// a fencing token: redlock_lease_fence().
//
// All clients must use the same list of nodes and the same longest ttl. To replace a node, add the new one at every
// client, wait for the longest ttl, and then remove the old one: two lists that differ by one replaced node have
// majorities that do not meet. The nodes are independent masters: no replicas that get promoted, no proxy, no eviction, no FLUSH. A
// timeout means "maybe locked": in the worst case the resource stays locked until the TTL expires. If a holder crashes,
// the lock stays taken until its TTL expires. Processes get the lock in no promised order. Locks are not re-entrant: a thread that wants a resource which
// its own process holds waits for it like anybody else.
//
// == Objects
//
// All types are opaque. What a function hands out through an out parameter, or returns from a `_new`, belongs
// to the caller and is given back with the `_free` of its type, once; `_free(NULL)` does nothing and no
// `_free` fails. Objects may be freed in any order: a lease keeps what it needs of its handle. Using a pointer
// after its own `_free` is undefined, as in any C library.
//
// The library copies what it is given: strings, bytes, options and requests may be changed or freed as soon
// as the call has returned. Pointers that getters return are borrowed: they live as long as the object they
// were asked of and are never freed by the caller.
//
// == Strings and bytes
//
// `const char *` parameters end with NUL. Resources and tokens may hold any bytes: for each function that
// takes them as strings there is one whose name ends in `_bytes` and which takes pointer and length. Getters
// of resources and tokens return bytes that are followed by a NUL, and their length where it is wanted.
//
// == Results and errors
//
// Functions that can fail return a redlock_status_t: REDLOCK_OK (0) or one of the negative REDLOCK_E_ values.
// The last parameter of most of them is `redlock_error_t **error`, in which details are offered: NULL means
// that they are not wanted. On failure it receives a new error object, to be freed with redlock_error_free();
// what it held before is overwritten, not freed. On success it is untouched. All other outputs are written on
// success only, and are untouched on failure.
//
// NULL where it is not allowed, or a number out of its range, is REDLOCK_E_INVALID. Getters have no status:
// each says what it returns for NULL. A bug in the library never ends the process: the call returns
// REDLOCK_E_INTERNAL, and so does every later call on the same handle and its leases.
//
// == Threads
//
// `const` on a parameter means that any number of threads may use the object at the same time, and not that
// the call changes nothing; a parameter without `const` must not be in use elsewhere. There is no global and
// no per-thread state. Handles and leases may be used by all threads at once; one handle per process is
// enough for any number of them, and keeps one connection to each node.
//
// Nothing here calls back into the program. Functions never wait for a node, a timer or another thread's wait, except
// those whose comment says `Waits:` and for how long at most; runtimes with a global lock release it around these. No
// lock of the library is held while a call waits.
//
// == Time
//
// Units are in the names. `ttl_ms` is the life of the key on the servers, `wait_ms` how long the caller is
// ready to wait for others: 0 makes one attempt, -1 waits without limit. Lease time goes on while the machine
// is suspended.
//
// == Fork and signals
//
// After fork() the handles and leases of the parent return REDLOCK_E_FORKED in the child, where freeing them
// only closes descriptors: make a new handle there. The library raises no SIGPIPE, installs no signal handler
// and opens every descriptor close-on-exec.
//
// A signal handler that runs in a thread that waits ends the wait with REDLOCK_E_INTERRUPTED, unless
// redlock_options_set_interruptible() says otherwise; no key is left behind. During such a wait the thread holds signals
// back except while it sleeps, so that none goes unnoticed. An interrupted wait loses its place among the callers of the
// same handle. Of the functions here only redlock_canceller_cancel() and redlock_canceller_is_cancelled() are
// async-signal-safe: a handler either sets a flag of the program's, or cancels. A signal that another thread handles ends
// nothing. Runtimes that use signals for themselves (Go, profilers, terminals that resize) set interruptible to 0 and use
// cancellers.
//
// In languages where an exception may strike between the return of a function and the assignment of its result, set the
// out pointer to NULL before the call and read it in `finally` or `ensure`.
//
// The library has no threads of its own, with two exceptions, in which all signals are blocked: while a host name is
// looked up, and from the first lease that extends itself in a blocking call until redlock_close() or redlock_free().

// Generated from src/ffi by build.rs; `make header` updates it.

#ifndef REDLOCK_H
#define REDLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// == Types

/// The result of a call: REDLOCK_OK or one of the REDLOCK_E_ values.
typedef int32_t redlock_status_t;

/// A handle: the connections to a set of nodes, and everything that is under way on them.
///
/// Lifetime: until redlock_free(); leases made from it may be freed before or after.
/// Threads: may be used by all threads at once.
/// Freed by: redlock_free().
typedef struct redlock_t redlock_t;

/// A lock that was taken.
///
/// Lifetime: until redlock_lease_free(), before or after that of its handle.
/// Threads: may be used by all threads at once.
/// Freed by: redlock_lease_free(), which does not unlock.
typedef struct redlock_lease_t redlock_lease_t;

/// A description of a lock to be taken, reusable.
///
/// Lifetime: independent of handles and leases.
/// Threads: any number of threads may lock by it at once; setters and redlock_request_free() need it alone.
/// Freed by: redlock_request_free().
typedef struct redlock_request_t redlock_request_t;

/// What ends operations from outside.
///
/// Lifetime: independent of handles, requests and operations, which keep what they need of it.
/// Threads: may be used by all threads at once.
/// Freed by: redlock_canceller_free().
typedef struct redlock_canceller_t redlock_canceller_t;

/// How a handle behaves.
///
/// Lifetime: independent of the handles made with it.
/// Threads: any number of threads may make handles with it at once; setters and redlock_options_free() need it
/// alone.
/// Freed by: redlock_options_free().
typedef struct redlock_options_t redlock_options_t;

/// Why a call failed, in detail.
///
/// Lifetime: independent of the handle and of everything else.
/// Threads: may be read by all threads at once.
/// Freed by: redlock_error_free().
typedef struct redlock_error_t redlock_error_t;

/// What the nodes said about one resource.
///
/// Lifetime: independent of the handle and of everything else.
/// Threads: may be read by all threads at once.
/// Freed by: redlock_inspection_free().
typedef struct redlock_inspection_t redlock_inspection_t;

/// Something that happened on a handle that an event loop drives.
///
/// Lifetime: until redlock_event_free(); before redlock_free() of its handle, or a lease in it cannot be released.
/// Threads: may be read by all threads at once; the functions that take something out of it, and
/// redlock_event_free(), need it alone.
/// Freed by: redlock_event_free(), which releases a lease that nobody took out of it.
typedef struct redlock_event_t redlock_event_t;

/// The counters of a handle at one moment.
///
/// Lifetime: independent of the handle and of everything else.
/// Threads: may be read by all threads at once.
/// Freed by: redlock_stats_free().
typedef struct redlock_stats_t redlock_stats_t;

// == Results
//
// The numbers are never reused. New ones may be added: treat an unknown negative number as a failure.

enum {
    /// Done.
    REDLOCK_OK = 0,

    /// Somebody else holds the lock, or it was granted too late to be of use.
    REDLOCK_E_NOT_ACQUIRED = -1,

    /// Too many nodes failed to form a quorum.
    REDLOCK_E_NO_QUORUM = -2,

    /// The lease is over: expired, deleted, or never this token's. Stop the work that it protected.
    REDLOCK_E_LOST = -3,

    /// redlock_cancel() or a canceller ended the operation.
    REDLOCK_E_CANCELLED = -4,

    /// A signal ended the wait.
    REDLOCK_E_INTERRUPTED = -5,

    /// An argument is NULL or out of its range.
    REDLOCK_E_INVALID = -6,

    /// Requires operator intervention: a malformed URL, a wrong password, missing permissions on the nodes.
    REDLOCK_E_CONFIG = -7,

    /// The handle belongs to the parent process.
    REDLOCK_E_FORKED = -8,

    /// The request may or may not have been applied.
    REDLOCK_E_UNKNOWN = -9,

    /// The handle is closed: redlock_close() or redlock_free() was called, before the call or during it.
    REDLOCK_E_CLOSED = -10,

    /// A bug in libredlock: every later call on this handle returns the same status. Or the process has no descriptor or
    /// thread to spare, which the message says: later calls work when it has.
    REDLOCK_E_INTERNAL = -11
};

/// An English phrase for a status, such as "not acquired". Never NULL; "unknown status" for other numbers. The
/// text is static. redlock_error_message() says more. Any thread. Since 0.1.0.
const char *redlock_status_text(redlock_status_t status);

// == The handle
//
// One handle stands for one set of nodes and is made once per process. Making it returns at once and
// begins to connect; the calls that need a connection go on with it. Nodes may be down and come up later.

/// Makes a handle for the nodes at these URLs and starts connecting to them.
///
/// urls: count strings, none of them NULL: `redis://[user:password@]host[:port][/db]`, `rediss://...` for TLS,
/// `unix:///path`. At least 1, at most 15; an odd number survives more failures. All clients must use the same
/// list.
/// options: NULL for the defaults.
/// out: receives the handle, to be freed with redlock_free(). Not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_E_INVALID for no URLs, REDLOCK_E_CONFIG for a malformed one. Nodes that cannot be reached are no
/// error here: redlock_wait_ready() tells. Since 0.1.0.
redlock_status_t redlock_new(const char *const *urls,
                             size_t count,
                             const redlock_options_t *options,
                             redlock_t **out,
                             redlock_error_t **error);

/// Closes the handle: calls in progress return REDLOCK_E_CLOSED, and so does every later call on it and on its leases.
/// It may be called while other threads use the handle; redlock_free() is still due. Submitted operations end with
/// REDLOCK_E_CLOSED, and their events can be fetched until redlock_free().
///
/// rl: not NULL.
/// release_leases: 1: leases that are held are released. 0: they stay locked until their TTL ends. Leases in events that
/// were not fetched are released in either case.
/// timeout_ms: how long to wait until connected nodes have confirmed all releases: 0 sends them and does not wait, -1
/// waits without limit. Nodes that are not connected are not waited for.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK is also returned if it was closed before. REDLOCK_E_UNKNOWN if the time was over before every release was confirmed:
/// they were sent all the same. Waits: at most timeout_ms. Since 0.1.0.
redlock_status_t redlock_close(const redlock_t *rl,
                               int32_t release_leases,
                               int64_t timeout_ms,
                               redlock_error_t **error);

/// Frees the handle. If redlock_close() was not called it closes first, without releasing leases and without waiting:
/// what is queued is handed to the kernel. The handle must not be used during or after this call; its leases may be.
///
/// rl: NULL is allowed. In a forked child it only closes descriptors. Waits: never. Since 0.1.0.
void redlock_free(redlock_t *rl);

/// Waits until a quorum of nodes is connected and ready. Calling it is optional: it tells a program that starts
/// whether its configuration works.
///
/// rl: not NULL.
/// timeout_ms: 0 only looks, -1 waits without limit.
/// error: NULL if no details are wanted.
///
/// REDLOCK_E_NO_QUORUM if the time is over, REDLOCK_E_CONFIG as soon as too many nodes fail permanently for a quorum to
/// be left. Waits: at most timeout_ms. Since 0.1.0.
redlock_status_t redlock_wait_ready(const redlock_t *rl, int64_t timeout_ms, redlock_error_t **error);

/// redlock_wait_ready() that a canceller ends with REDLOCK_E_CANCELLED.
///
/// rl: not NULL.
/// canceller: NULL for none.
/// error: NULL if no details are wanted. Waits: at most timeout_ms. Since 0.1.0.
redlock_status_t redlock_wait_ready_cancellable(const redlock_t *rl,
                                                int64_t timeout_ms,
                                                const redlock_canceller_t *canceller,
                                                redlock_error_t **error);

/// How many nodes the handle has. 0 where rl is NULL. Since 0.1.0.
size_t redlock_node_count(const redlock_t *rl);

/// The URL of a node, counted from 0, without user name and password. Borrowed from rl. NULL where rl is NULL
/// or has no such node. Since 0.1.0.
const char *redlock_node_url(const redlock_t *rl, size_t node);

/// Takes the lock on a resource.
///
/// resource: names what is protected, and with the prefix of the options is the key on the servers. Not NULL,
/// not "".
/// ttl_ms: how long the lock lasts unless it is extended, at least 1. The lease lasts less: the time that
/// locking took, and what clocks may drift apart, are taken off.
/// wait_ms: how long to wait while somebody else holds it: 0 makes one attempt, -1 waits without limit.
/// lease: receives the lease, to be freed with redlock_lease_free(). Not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_E_NOT_ACQUIRED if somebody else held it to the end, REDLOCK_E_NO_QUORUM if too few nodes answered.
/// On failure no key of ours is left on any node that can be told so. Waits: at most wait_ms and a node
/// timeout. Since 0.1.0.
redlock_status_t redlock_lock(const redlock_t *rl,
                              const char *resource,
                              uint64_t ttl_ms,
                              int64_t wait_ms,
                              redlock_lease_t **lease,
                              redlock_error_t **error);

/// redlock_lock() for any bytes. resource: NULL is allowed only for no bytes, which are REDLOCK_E_INVALID. Waits: at most
/// wait_ms and a node timeout. Since 0.1.0.
redlock_status_t redlock_lock_bytes(const redlock_t *rl,
                                    const void *resource,
                                    size_t resource_len,
                                    uint64_t ttl_ms,
                                    int64_t wait_ms,
                                    redlock_lease_t **lease,
                                    redlock_error_t **error);

/// Takes the lock that a request describes; else like redlock_lock().
///
/// request: not NULL; not changed, and may be used again, also by several threads at once.
/// lease: receives the lease, to be freed with redlock_lease_free(). Not NULL.
/// error: NULL if no details are wanted. Waits: at most the wait_ms of the request and a node timeout. Since 0.1.0.
redlock_status_t redlock_lock_request(const redlock_t *rl,
                                      const redlock_request_t *request,
                                      redlock_lease_t **lease,
                                      redlock_error_t **error);

/// Ends every operation of the handle that carries this tag. Each returns REDLOCK_E_CANCELLED, unless it was about to
/// return something else, and leaves no key behind. An operation that begins later is not concerned: for that there are
/// cancellers (redlock_canceller_cancel()). The lease of an operation that has ended is not touched.
///
/// rl: not NULL.
/// tag: as in redlock_request_set_tag(); not 0.
///
/// REDLOCK_OK also if there is no such operation. Any thread. Waits: never. Since 0.1.0.
redlock_status_t redlock_cancel(const redlock_t *rl, uint64_t tag);

/// redlock_cancel() that says how many operations it met.
///
/// rl: not NULL.
/// count: receives the number; NULL if it is not wanted. Waits: never. Since 0.1.0.
redlock_status_t redlock_cancel_count(const redlock_t *rl, uint64_t tag, size_t *count);

// == Leases
//
// A lock that was taken. Its time runs on this machine's clock, on which the library counts what it knows of
// the nodes: redlock_lease_remaining_ms() is the one question to ask before touching what the lock protects.

enum {
    /// redlock_lease_state(): the lock is ours, as far as is known.
    REDLOCK_LEASE_HELD = 1,

    /// redlock_lease_state(): the lease is over without having been released: expired, deleted, or lost with its
    /// nodes.
    REDLOCK_LEASE_LOST = 2,

    /// redlock_lease_state(): it was unlocked.
    REDLOCK_LEASE_RELEASED = 3
};

/// Releases the lock. The lease stays to be asked, and is over whatever this returns.
///
/// lease: not NULL; not consumed: redlock_lease_free() is still due.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes confirmed that the lock was ours until now. REDLOCK_E_LOST if it was not:
/// somebody else may have had it meanwhile. REDLOCK_E_NO_QUORUM if more than N - q nodes failed or timed out,
/// REDLOCK_E_UNKNOWN if too few confirmed for mixed reasons: the key goes as soon as they answer, at the latest
/// with its time. Waits: at most a node timeout. Since 0.1.0.
redlock_status_t redlock_unlock(const redlock_lease_t *lease, redlock_error_t **error);

/// Releases the lock and does not wait: the release is handed to the kernel, or follows as soon as a node can be reached.
/// For destructors and finalizers: it needs no event loop and queues no event, and redlock_lease_free() may follow at
/// once. The outcome goes to the counters alone. The lease has ended.
///
/// lease: not NULL; redlock_lease_free() is still due.
///
/// REDLOCK_OK if the release is on its way, also where the lease had ended before. REDLOCK_E_CLOSED, REDLOCK_E_FORKED: the
/// lock stays until its TTL ends. Waits: never. Since 0.1.0.
redlock_status_t redlock_unlock_nowait(const redlock_lease_t *lease);

/// Makes the lock last ttl_ms from now on, where that is longer than what it has left; it is never shortened.
///
/// lease: not NULL.
/// ttl_ms: at least 1.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes confirmed it. REDLOCK_E_LOST if the lease is over. After any other failure
/// the lease goes on for what redlock_lease_remaining_ms() says, and this may be called again. A lease
/// whose confirmed keys fell below a quorum has ended, although nodes that have not answered yet may have the key:
/// another client may have held the lock in between. Waits: at most a node timeout. Since 0.1.0.
redlock_status_t redlock_extend(const redlock_lease_t *lease, uint64_t ttl_ms, redlock_error_t **error);

/// The token that makes the lock ours, to be handed to redlock_unlock_token() in another process. Borrowed from
/// lease.
///
/// length: receives the number of bytes, without the NUL behind them; NULL if it is not wanted. A token that
/// the library made is text; one's own may contain NUL.
///
/// NULL where lease is NULL; length is untouched then. Since 0.1.0.
const char *redlock_lease_token(const redlock_lease_t *lease, size_t *length);

/// The resource as it was given, without the prefix of the options. Borrowed from lease.
///
/// length: receives the number of bytes, without the NUL behind them; NULL if it is not wanted.
///
/// NULL where lease is NULL; length is untouched then. Since 0.1.0.
const char *redlock_lease_resource(const redlock_lease_t *lease, size_t *length);

/// The fencing token: a number above 0 and below 2^53, larger than that of every lease on the same resource that
/// was taken before this one, wherever. 0 where none was asked for (redlock_request_set_fence()) or lease is NULL.
///
/// A process that is stopped after it has looked at redlock_lease_remaining_ms() can still write late. Send this
/// number with every write, and let the resource remember the largest it has seen and reject smaller ones: then
/// such a write does no harm. It stays the same when the lease is extended. Since 0.1.0.
uint64_t redlock_lease_fence(const redlock_lease_t *lease);

/// For how many more milliseconds the lock is ours; 0 or less when it is over, released, or lease is NULL. No
/// server is asked. Since 0.1.0.
int64_t redlock_lease_remaining_ms(const redlock_lease_t *lease);

/// When the lease is over, in nanoseconds of CLOCK_BOOTTIME. It moves: forward by an extension, back when a
/// node is found to have lost the key. 0 where the lease is over or NULL. Since 0.1.0.
uint64_t redlock_lease_valid_until_ns(const redlock_lease_t *lease);

/// One of the REDLOCK_LEASE_ values; 0 where lease is NULL. A lease that was seen lost stays so for ever. Since
/// 0.1.0.
int32_t redlock_lease_state(const redlock_lease_t *lease);

/// On how many nodes the lock is known to be ours. It may grow for a moment after locking, when late nodes
/// answer. 0 where lease is NULL. Since 0.1.0.
size_t redlock_lease_node_count_held(const redlock_lease_t *lease);

/// Waits until the lease is over, however that comes about: its time, a deletion on the servers, redlock_unlock() by
/// another thread. While the lease is watched like this the nodes announce changes of its key, so that a deletion is
/// known within a round trip and not only at the deadline.
///
/// timeout_ms: 0 only looks, -1 waits without limit.
///
/// REDLOCK_OK if it is still held after that time. REDLOCK_E_LOST as soon as it is over, also where lease was released.
/// REDLOCK_E_INTERRUPTED, REDLOCK_E_CLOSED, REDLOCK_E_FORKED, REDLOCK_E_INVALID say nothing about the lease: look at
/// redlock_lease_state(). Waits: at most timeout_ms. Since 0.1.0.
redlock_status_t redlock_lease_wait_lost(const redlock_lease_t *lease, int64_t timeout_ms);

/// redlock_lease_wait_lost() that a canceller ends with REDLOCK_E_CANCELLED, which says nothing about the lease either.
///
/// lease: not NULL.
/// canceller: NULL for none. Waits: at most timeout_ms. Since 0.1.0.
redlock_status_t redlock_lease_wait_lost_cancellable(const redlock_lease_t *lease,
                                                     int64_t timeout_ms,
                                                     const redlock_canceller_t *canceller);

/// Frees the lease and tells no server: a lock that was not released lasts until its time is over. NULL is
/// allowed. Since 0.1.0.
void redlock_lease_free(redlock_lease_t *lease);

// == By token
//
// What another process can do with a lock when it was told the resource and the token of the lease. The handle
// must be one for the same nodes, with the same prefix. Nothing here knows how long a lease lasts: that is the
// holder's knowledge.

/// Releases the lock on a resource if it belongs to this token.
///
/// rl, resource, token: not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes deleted it, REDLOCK_E_LOST if it was not this token's,
/// REDLOCK_E_NO_QUORUM if more than N - q nodes failed or timed out, REDLOCK_E_UNKNOWN if too few confirmed for
/// mixed reasons. Waits: at most a node timeout. Since 0.1.0.
redlock_status_t redlock_unlock_token(const redlock_t *rl,
                                      const char *resource,
                                      const char *token,
                                      redlock_error_t **error);

/// redlock_unlock_token() for any bytes. NULL is allowed only for no bytes. Waits: at most a node timeout. Since 0.1.0.
redlock_status_t redlock_unlock_token_bytes(const redlock_t *rl,
                                            const void *resource,
                                            size_t resource_len,
                                            const void *token,
                                            size_t token_len,
                                            redlock_error_t **error);

/// redlock_unlock_token() that does not wait: the release is handed to the kernel, or follows as soon as a node can be
/// reached. It needs no event loop and queues no event; the outcome goes to the counters alone.
///
/// rl, resource, token: not NULL. Waits: never. Since 0.1.0.
redlock_status_t redlock_unlock_token_nowait(const redlock_t *rl, const char *resource, const char *token);

/// redlock_unlock_token_nowait() for any bytes. NULL is allowed only for no bytes. Waits: never. Since 0.1.0.
redlock_status_t redlock_unlock_token_nowait_bytes(const redlock_t *rl,
                                                   const void *resource,
                                                   size_t resource_len,
                                                   const void *token,
                                                   size_t token_len);

/// Makes the lock on a resource last ttl_ms from now on if it belongs to this token; it is never shortened.
///
/// rl, resource, token: not NULL.
/// ttl_ms: at least 1.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes confirmed it, REDLOCK_E_LOST if the lock was not this token's. Waits: at most
/// a node timeout. Since 0.1.0.
redlock_status_t redlock_extend_token(const redlock_t *rl,
                                      const char *resource,
                                      const char *token,
                                      uint64_t ttl_ms,
                                      redlock_error_t **error);

/// redlock_extend_token() for any bytes. NULL is allowed only for no bytes. Waits: at most a node timeout. Since 0.1.0.
redlock_status_t redlock_extend_token_bytes(const redlock_t *rl,
                                            const void *resource,
                                            size_t resource_len,
                                            const void *token,
                                            size_t token_len,
                                            uint64_t ttl_ms,
                                            redlock_error_t **error);

// == Requests
//
// A lock with everything that can be asked for: for redlock_lock_request(). The setters copy what they are given,
// and on REDLOCK_E_INVALID leave the request as it was. The request itself must not be NULL.

enum {
    /// wait_ms, timeout_ms, retries and retry_count: without limit.
    REDLOCK_NO_LIMIT = -1,

    /// redlock_request_set_retries(): as often as the options of the handle say.
    REDLOCK_RETRIES_OF_HANDLE = -2
};

/// A new request: one attempt, no resource and no ttl yet, which both must be set. Never NULL, except after a
/// defect in the library. Since 0.1.0.
redlock_request_t *redlock_request_new(void);

/// Frees a request. NULL is allowed. Since 0.1.0.
void redlock_request_free(redlock_request_t *request);

/// What is to be locked. Not NULL, not "". Since 0.1.0.
redlock_status_t redlock_request_set_resource(redlock_request_t *request, const char *resource);

/// redlock_request_set_resource() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
redlock_status_t redlock_request_set_resource_bytes(redlock_request_t *request,
                                                    const void *resource,
                                                    size_t resource_len);

/// How long the lock lasts unless it is extended, in milliseconds: at least 1. Since 0.1.0.
redlock_status_t redlock_request_set_ttl_ms(redlock_request_t *request, uint64_t ttl_ms);

/// How long to wait while somebody else holds the lock, in milliseconds: 0 makes one attempt (the default),
/// REDLOCK_NO_LIMIT waits without limit. Since 0.1.0.
redlock_status_t redlock_request_set_wait_ms(redlock_request_t *request, int64_t wait_ms);

/// How often a failed attempt is repeated within wait_ms: 0 and more, REDLOCK_NO_LIMIT, or
/// REDLOCK_RETRIES_OF_HANDLE (the default). Since 0.1.0.
redlock_status_t redlock_request_set_retries(redlock_request_t *request, int64_t retries);

/// A token of one's own instead of a fresh one per attempt; NULL for fresh ones (the default). It must differ
/// from every other token that is in use for this resource anywhere: a token used twice makes two holders one, and
/// a release that is still on its way deletes the key of the next who uses it. Where a connection was lost with a
/// release under way and the server does not permit CLIENT KILL, this handle gets no vote there for the token for two
/// minutes; another process that uses the token again must wait as long by itself.
/// Since 0.1.0.
redlock_status_t redlock_request_set_token(redlock_request_t *request, const char *token);

/// redlock_request_set_token() for any bytes, at least one; NULL and 0 for fresh tokens. Since 0.1.0.
redlock_status_t redlock_request_set_token_bytes(redlock_request_t *request, const void *token, size_t token_len);

/// 1: a fencing token comes with the lease: redlock_lease_fence(). 0: none does (the default).
///
/// All who lock the resource must ask for one. It takes no further round trip, except when nodes disagree about
/// the number. Each node keeps a counter beside the lock, for a day after it was last used, under the name
/// `{key}:redlock-fence`, or `key:redlock-fence` where the key has a {tag}. Resources may not end in
/// ":redlock-fence".
///
/// Tokens grow, whatever the clocks say, as long as the nodes keep their counters. Where one is lost (restart
/// without data, a day without use), the server's time takes its place: then tokens grow as long as the servers'
/// clocks agree within max_ttl_ms less 0.1 s (clients read them to within that) and restarted nodes are guarded
/// (redlock_options_set_restart_guard()). A node whose clock or counter is ahead of the nodes' median by more than
/// max_ttl_ms (10 s where that is not set) gets no vote: one wrong clock would otherwise set the counter for ever.
/// After FLUSH nothing is promised. Release by redlock_unlock_token() is as good as any; extension by
/// redlock_extend_token() does not lengthen the counters' life.
///
/// Needs scripts, also where redlock_options_set_avoid_lua() is in use: the rights +eval +get +set +time +pttl
/// +pexpire on the key and on the counter. Since 0.1.0.
redlock_status_t redlock_request_set_fence(redlock_request_t *request, int32_t fence);

/// A number by which redlock_cancel() can end the operation, and which the events of redlock_submit_lock() and its lease
/// carry; several may carry the same. 0 for none (the default). Since 0.1.0.
redlock_status_t redlock_request_set_tag(redlock_request_t *request,
                                         uint64_t tag);

/// What ends the operation from outside: redlock_canceller_cancel(). NULL for nothing (the default). The request and its
/// operations keep what they need: the canceller may be freed at any time. Since 0.1.0.
redlock_status_t redlock_request_set_canceller(redlock_request_t *request,
                                               const redlock_canceller_t *canceller);

/// 1: nodes announce the loss of a lease from redlock_submit_lock(), so that it is known before its deadline (the
/// default). 0: they do not, which saves requests for leases that are held only briefly; such a lease is still lost at its
/// deadline, and one that extends itself is watched in either case. Since 0.1.0.
redlock_status_t redlock_request_set_watch(redlock_request_t *request,
                                           int32_t watch);

/// 1: an attempt that failed may take one more round trip to tell, in the error, for how long others hold the lock:
/// redlock_error_node_remaining_ms(). 0: the error tells what is known without asking (the default). Since 0.1.0.
redlock_status_t redlock_request_set_report_remaining(redlock_request_t *request, int32_t report_remaining);

/// 1: the lease extends itself by its ttl whenever a third of its time has passed, until it is released, lost, freed or
/// held for long enough, and its loss is noticed at once. 0: it does not (the default). After a failed extension it
/// tries again while there is time. In the event loop the loop drives this; for a lease from a blocking call one thread
/// of the handle does, which is started for the first such lease. Since 0.1.0.
redlock_status_t redlock_request_set_auto_extend(redlock_request_t *request, int32_t auto_extend);

/// A lease that extends itself does not do so beyond this many milliseconds after its acquisition, so that a holder that
/// hangs does not keep the lock for ever: then it is lost. 0: without such an end (the default). Has no effect without
/// redlock_request_set_auto_extend(). Since 0.1.0.
redlock_status_t redlock_request_set_max_hold_ms(redlock_request_t *request,
                                                 uint64_t max_hold_ms);

// == Cancellers
//
// A canceller ends operations from outside, and has a life of its own: it may be used before an operation begins, while
// it runs, and after it has ended. It is sticky: an operation that begins with a canceller that was used returns
// REDLOCK_E_CANCELLED at once. Requests, redlock_wait_ready_cancellable() and redlock_lease_wait_lost_cancellable()
// accept one; any number of operations may share it. To begin anew, make a new one: that is cheap. A canceller remembers
// each handle that it was used with until it is freed.

/// A new canceller, not used yet. Never NULL, except after a bug in the library. Waits: never. Since 0.1.0.
redlock_canceller_t *redlock_canceller_new(void);

/// Ends every operation that carries this canceller, now and later, with REDLOCK_E_CANCELLED. Each leaves no key behind.
/// One that was about to return something else does so.
///
/// canceller: not NULL.
///
/// REDLOCK_OK also if it was used before or no operation carries it. Any thread, and async-signal-safe: a signal handler
/// may call it, and errno stays as it is. Waits: never. Since 0.1.0.
redlock_status_t redlock_canceller_cancel(const redlock_canceller_t *canceller);

/// 1 if redlock_canceller_cancel() was called. 0 if not, or canceller is NULL. Async-signal-safe. Waits: never. Since
/// 0.1.0.
int32_t redlock_canceller_is_cancelled(const redlock_canceller_t *canceller);

/// Frees a canceller. Operations that carry it go on. NULL is allowed. Waits: never. Since 0.1.0.
void redlock_canceller_free(redlock_canceller_t *canceller);

// == Options
//
// How a handle behaves, for redlock_new(), which copies them. Every setter checks its range at once, and on
// REDLOCK_E_INVALID leaves the options as they were. The options themselves must not be NULL; strings are copied,
// and NULL unsets them. What belongs together (a certificate and its key) is checked by redlock_new().

enum {
    /// redlock_options_set_protocol(): RESP3 where the server has it, else RESP2. The default.
    REDLOCK_PROTOCOL_AUTO = 0,

    /// redlock_options_set_protocol(): RESP2. Waiters are not woken by servers then.
    REDLOCK_PROTOCOL_RESP2 = 2,

    /// redlock_options_set_protocol(): RESP3, and a server without it is an error.
    REDLOCK_PROTOCOL_RESP3 = 3,

    /// redlock_options_set_restart_guard(): a restarted node votes at once.
    REDLOCK_GUARD_OFF = 0,

    /// redlock_options_set_restart_guard(): a node that restarts while this handle knows it does not vote before
    /// all leases that it may have forgotten are over. A handle made after the restart does not know of it. The
    /// default.
    REDLOCK_GUARD_SEEN = 1,

    /// redlock_options_set_restart_guard(): a node votes only when it has certainly been running for max_ttl_ms:
    /// this handle has known it for so long, or it says so and its clock agrees with a quorum of clocks to 500 ms. A
    /// node whose maxmemory-policy evicts keys, or that hides INFO, is refused. Needs max_ttl_ms.
    REDLOCK_GUARD_STRICT = 2
};

/// New options, all at their defaults. Never NULL, except after a defect in the library. Since 0.1.0.
redlock_options_t *redlock_options_new(void);

/// Frees options. NULL is allowed. Since 0.1.0.
void redlock_options_free(redlock_options_t *options);

/// A node that has not answered after this many milliseconds is not waited for, and gets no new locks until it
/// has answered. Default 100. Since 0.1.0.
redlock_status_t redlock_options_set_node_timeout_ms(redlock_options_t *options, uint64_t node_timeout_ms);

/// A connection on which an answer is due for longer than this many milliseconds is given up. Default 2000.
/// Since 0.1.0.
redlock_status_t redlock_options_set_stall_timeout_ms(redlock_options_t *options, uint64_t stall_timeout_ms);

/// How long connecting may take, in milliseconds, with name resolution, TLS and login. Default 500. Since
/// 0.1.0.
redlock_status_t redlock_options_set_connect_timeout_ms(redlock_options_t *options, uint64_t connect_timeout_ms);

/// How often a failed attempt is repeated within the time that the caller is ready to wait: 0 and more, or
/// REDLOCK_NO_LIMIT (the default). Since 0.1.0.
redlock_status_t redlock_options_set_retry_count(redlock_options_t *options, int64_t retry_count);

/// Milliseconds before an attempt is repeated, where no server wakes us. Default 200. Since 0.1.0.
redlock_status_t redlock_options_set_retry_delay_ms(redlock_options_t *options, uint64_t retry_delay_ms);

/// A random addition of up to this many milliseconds to every such pause. Default 100. Since 0.1.0.
redlock_status_t redlock_options_set_retry_jitter_ms(redlock_options_t *options, uint64_t retry_jitter_ms);

/// How far apart the rates of two machines' clocks may be, in parts per million: so much of each ttl is given
/// up. Default 10000 (1 %). Since 0.1.0.
redlock_status_t redlock_options_set_drift_ppm(redlock_options_t *options, uint64_t drift_ppm);

/// Stands before each resource in the names of the keys. NULL for none (the default). Since 0.1.0.
redlock_status_t redlock_options_set_key_prefix(redlock_options_t *options, const char *key_prefix);

/// redlock_options_set_key_prefix() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
redlock_status_t redlock_options_set_key_prefix_bytes(redlock_options_t *options,
                                                      const void *key_prefix,
                                                      size_t key_prefix_len);

/// The longest ttl in milliseconds that any client of these nodes uses, where one was agreed on: a longer one
/// is REDLOCK_E_INVALID, and a restarted node is kept from voting for this long. 0 for none (the default).
/// Since 0.1.0.
redlock_status_t redlock_options_set_max_ttl_ms(redlock_options_t *options, uint64_t max_ttl_ms);

/// When a node that restarted may vote again: one of the REDLOCK_GUARD_ values. Default REDLOCK_GUARD_SEEN.
///
/// A node that comes back empty would grant locks that are held. It is asked all the same, but does not count
/// until it has been running for max_ttl_ms and the drift, which is until all leases that it may have forgotten
/// are over; the same goes for one that comes back with its data, which may not be all of it. Until then the
/// error says REDLOCK_NODE_GUARDED and "restarted 3.2 s ago; no vote for 6.8 s more". So restart one node at a
/// time, max_ttl_ms apart. Without max_ttl_ms the largest ttl that this handle has been asked for takes its
/// place, which is too short where others use longer ones. Since 0.1.0.
redlock_status_t redlock_options_set_restart_guard(redlock_options_t *options, int32_t restart_guard);

/// 1: servers that can are asked to tell waiters when a lock is free (the default). 0: waiters only retry.
/// Since 0.1.0.
redlock_status_t redlock_options_set_wake(redlock_options_t *options, int32_t wake);

/// For how many microseconds a caller looks for answers without sleeping: less latency for more processor time.
/// Default 0. Since 0.1.0.
redlock_status_t redlock_options_set_spin_us(redlock_options_t *options, uint32_t spin_us);

/// 1: a signal handler that runs during a wait ends it with REDLOCK_E_INTERRUPTED (the default). 0: waits go
/// on; for runtimes that use signals for themselves, such as Go. Since 0.1.0.
redlock_status_t redlock_options_set_interruptible(redlock_options_t *options, int32_t interruptible);

/// A file with the certificates, in PEM, that a server's must go back to. NULL for those of the system (the
/// default). Since 0.1.0.
redlock_status_t redlock_options_set_tls_ca_file(redlock_options_t *options, const char *tls_ca_file);

/// A file with our own certificate, in PEM, for servers that ask for one. NULL for none (the default). Since
/// 0.1.0.
redlock_status_t redlock_options_set_tls_cert_file(redlock_options_t *options, const char *tls_cert_file);

/// A file with the key of our own certificate, in PEM. NULL for none (the default). Since 0.1.0.
redlock_status_t redlock_options_set_tls_key_file(redlock_options_t *options, const char *tls_key_file);

/// 1: the certificates of servers are not checked, so that anybody can play the server. 0: they are (the
/// default). Since 0.1.0.
redlock_status_t redlock_options_set_tls_insecure(redlock_options_t *options, int32_t tls_insecure);

/// The user for nodes whose URL names none. UTF-8. NULL for none (the default). Since 0.1.0.
redlock_status_t redlock_options_set_username(redlock_options_t *options, const char *username);

/// The password for nodes whose URL has none. UTF-8. NULL for none (the default). Since 0.1.0.
redlock_status_t redlock_options_set_password(redlock_options_t *options, const char *password);

/// The name of our connections in CLIENT LIST. UTF-8. NULL for none (the default). Since 0.1.0.
redlock_status_t redlock_options_set_client_name(redlock_options_t *options, const char *client_name);

/// Which protocol is spoken: one of the REDLOCK_PROTOCOL_ values. Default REDLOCK_PROTOCOL_AUTO. Since 0.1.0.
redlock_status_t redlock_options_set_protocol(redlock_options_t *options, int32_t protocol);

/// 1: keys are deleted by a command that compares where the server has one, DELEX or DELIFEQ (the default). 0: by
/// script always. Locks are extended, and fencing tokens given, by script always. Since 0.1.0.
redlock_status_t redlock_options_set_avoid_lua(redlock_options_t *options, int32_t avoid_lua);

// == Errors
//
// What a call that failed offers through its last parameter: the status again, a sentence, and what each node
// contributed. Passwords are in none of the texts.

/// Frees an error object. NULL is allowed. Since 0.1.0.
void redlock_error_free(redlock_error_t *error);

/// The status that the call returned. REDLOCK_OK where error is NULL. Since 0.1.0.
redlock_status_t redlock_error_code(const redlock_error_t *error);

/// One line for people, such as "not acquired: held on nodes 1,2,4 (7.3 s left); node 3: timeout after 100 ms".
/// Nodes are counted from 1 in it. Borrowed from error. Never NULL; "" where error is NULL. Since 0.1.0.
const char *redlock_error_message(const redlock_error_t *error);

/// How many nodes the error object tells about: all of the handle's, or 0 where none was asked or error is
/// NULL. Since 0.1.0.
size_t redlock_error_node_count(const redlock_error_t *error);

/// The URL of a node, counted from 0, without user name and password. Borrowed from error. NULL where error is
/// NULL or has no such node. Since 0.1.0.
const char *redlock_error_node_url(const redlock_error_t *error, size_t node);

/// What a node, counted from 0, contributed: one of the REDLOCK_NODE_ values. REDLOCK_NODE_NONE where error is
/// NULL or has no such node. Since 0.1.0.
int32_t redlock_error_node_outcome(const redlock_error_t *error, size_t node);

/// The words of a node, counted from 0: the server's or the system's, escaped and cut at 256 bytes, else the
/// text of its outcome. Borrowed from error. NULL where error is NULL or has no such node. Since 0.1.0.
const char *redlock_error_node_text(const redlock_error_t *error, size_t node);

/// Milliseconds from the request to this outcome, of a node counted from 0. 0 where nothing was sent, error is
/// NULL or has no such node. Since 0.1.0.
uint64_t redlock_error_node_elapsed_ms(const redlock_error_t *error, size_t node);

/// How long the other holder's key still lives on a node, counted from 0, whose outcome is REDLOCK_NODE_HELD,
/// as far as it was learnt. -1 where it is not known, error is NULL or has no such node. Since 0.1.0.
int64_t redlock_error_node_remaining_ms(const redlock_error_t *error, size_t node);

// == Outcomes of single nodes
//
// What one node contributed to an operation that failed, or to an inspection. New numbers may be added.

enum {
    /// There is no such node.
    REDLOCK_NODE_NONE = -1,

    /// It did what was asked.
    REDLOCK_NODE_DONE = 0,

    /// Another token holds the key there.
    REDLOCK_NODE_HELD = 1,

    /// The key is absent there or another's.
    REDLOCK_NODE_NOT_MINE = 2,

    /// The operation was decided before this node answered.
    REDLOCK_NODE_NOT_AWAITED = 3,

    /// It answered, but came back empty so recently that its vote does not count yet.
    REDLOCK_NODE_GUARDED = 4,

    /// It answered with an error that time may cure (LOADING, READONLY, OOM, ...).
    REDLOCK_NODE_REFUSED = 5,

    /// It answered with an error that only a person can cure (WRONGPASS, NOPERM, WRONGTYPE, ...).
    REDLOCK_NODE_PERMANENT = 6,

    /// It did not answer within the node timeout.
    REDLOCK_NODE_TIMEOUT = 7,

    /// There is no connection to it.
    REDLOCK_NODE_UNREACHABLE = 8,

    /// It does not speak the protocol of Redis.
    REDLOCK_NODE_PROTOCOL = 9
};

/// An English phrase for one of the REDLOCK_NODE_ values. Never NULL; "unknown outcome" for other numbers. The
/// text is static. Any thread. Since 0.1.0.
const char *redlock_node_outcome_text(int32_t outcome);

// == Inspection
//
// Who holds a lock, as the nodes say. Reading takes no lock and says nothing about the next moment: never act
// on it in place of a lock.

/// Asks all nodes who holds the lock on a resource, and changes nothing.
///
/// rl, resource: not NULL.
/// out: receives what they said, to be freed with redlock_inspection_free(). Not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_E_NO_QUORUM if too few nodes answered. A lock that nobody holds is REDLOCK_OK. Waits: at most
/// a node timeout. Since 0.1.0.
redlock_status_t redlock_inspect(const redlock_t *rl,
                                 const char *resource,
                                 redlock_inspection_t **out,
                                 redlock_error_t **error);

/// redlock_inspect() for any bytes. resource: NULL is allowed only for no bytes. Waits: at most a node timeout. Since 0.1.0.
redlock_status_t redlock_inspect_bytes(const redlock_t *rl,
                                       const void *resource,
                                       size_t resource_len,
                                       redlock_inspection_t **out,
                                       redlock_error_t **error);

/// Frees an inspection. NULL is allowed. Since 0.1.0.
void redlock_inspection_free(redlock_inspection_t *inspect);

/// 1 if one token is on a quorum of the nodes: somebody holds the lock. 0 if not, or inspect is NULL. Since
/// 0.1.0.
int32_t redlock_inspection_is_held(const redlock_inspection_t *inspect);

/// The token that is on most nodes, its first 256 bytes. Borrowed from inspect.
///
/// length: receives the number of bytes, without the NUL behind them; NULL if it is not wanted.
///
/// NULL where no node has the key, or inspect is NULL; length is untouched then. Since 0.1.0.
const char *redlock_inspection_token(const redlock_inspection_t *inspect, size_t *length);

/// For how many more milliseconds a quorum keeps that token, or as many nodes as have it. -1: for ever, which
/// is no work of this library. 0 where no node has the key, or inspect is NULL. Since 0.1.0.
int64_t redlock_inspection_remaining_ms(const redlock_inspection_t *inspect);

/// How many nodes have that token. 0 where no node has the key, or inspect is NULL. Since 0.1.0.
size_t redlock_inspection_node_count_held(const redlock_inspection_t *inspect);

/// How many nodes were asked. 0 where inspect is NULL. Since 0.1.0.
size_t redlock_inspection_node_count(const redlock_inspection_t *inspect);

/// The URL of a node, counted from 0, without user name and password. Borrowed from inspect. NULL where inspect
/// is NULL or has no such node. Since 0.1.0.
const char *redlock_inspection_node_url(const redlock_inspection_t *inspect, size_t node);

/// How a node, counted from 0, answered: REDLOCK_NODE_DONE if it did, with or without a key, else another of
/// the REDLOCK_NODE_ values. REDLOCK_NODE_NONE where inspect is NULL or has no such node. Since 0.1.0.
int32_t redlock_inspection_node_outcome(const redlock_inspection_t *inspect, size_t node);

/// The words of a node, counted from 0: the server's or the system's, else the text of its outcome. Borrowed
/// from inspect. NULL where inspect is NULL or has no such node. Since 0.1.0.
const char *redlock_inspection_node_text(const redlock_inspection_t *inspect, size_t node);

/// The token on a node, counted from 0, its first 256 bytes. Borrowed from inspect.
///
/// length: receives the number of bytes, without the NUL behind them; NULL if it is not wanted.
///
/// NULL where the node has no key or did not answer, or inspect is NULL or has no such node; length is
/// untouched then. Since 0.1.0.
const char *redlock_inspection_node_token(const redlock_inspection_t *inspect, size_t node, size_t *length);

/// For how many more milliseconds a node, counted from 0, keeps its key. -1: for ever. 0 where it has none or
/// did not answer, or inspect is NULL or has no such node. Since 0.1.0.
int64_t redlock_inspection_node_remaining_ms(const redlock_inspection_t *inspect, size_t node);

// == The event loop
//
// For programs that never wait inside a call. One descriptor stands for the whole handle; a loop watches it beside its
// own, and nothing in here blocks or calls back:
//
//     int fd = redlock_fd(rl);                        /* watch it for reading */
//     redlock_submit_lock(rl, request, NULL);         /* from now on the loop does the rest */
//     ...
//     redlock_process(rl);                            /* whenever fd is readable */
//     while ((event = redlock_next_event(rl)) != NULL) {
//         react(event);
//         redlock_event_free(event);
//     }
//
// The descriptor is readable while something is to be done: something submitted is to be sent, a node has answered, a
// timer is due, or events wait to be fetched. It stays so until redlock_process() was called and
// redlock_next_event() has returned NULL. That fits loops that watch for the state (poll, select, epoll) as well as
// those that watch for changes (EPOLLET, Go, Rust), as long as these go on to that NULL each time. Readiness may be
// spurious, and so may calls: without anything to do they do nothing. include/redlock/ has adapters for libuv,
// libevent, glib and sd-event.
//
// Every operation that was submitted ends in exactly one REDLOCK_EVENT_DONE, whatever becomes of it; if submitting
// itself failed there is none. The number that it carries is the caller's to choose; redlock_cancel() ends by it.
// Leases from redlock_submit_lock() report their loss and their automatic extensions by events. The loop must go on
// for that: a lease that extends itself is lost when nobody calls redlock_process() for a ttl.
//
// redlock_next_event() hands out what was there when redlock_process() ran: what comes later belongs to the next call, so
// that a program may submit while it fetches. The descriptor may be duplicated, made non-blocking and put into another
// epoll set. After redlock_free() no more events can be had: whoever bridges to another runtime then fails what is pending
// itself, and also after REDLOCK_E_FORKED or REDLOCK_E_INTERNAL from redlock_process(). No event about a lease follows
// redlock_lease_free(), and no loss is told of a lease that was unlocked.
//
// Calls may come from any thread, also while others wait in the blocking functions of the same handle: both kinds
// share connections, queues and results. Submitting from one thread wakes the loop of another. Two threads may call
// redlock_process() and redlock_next_event() at the same time; each event goes to one of them.

/// The descriptor to watch for reading; the same one every time. It is the handle's: only watch it, stop watching
/// before redlock_free(), never read it and never close it. It is close-on-exec.
///
/// A REDLOCK_E_ value, which is negative, where there is none: REDLOCK_E_INVALID for NULL, REDLOCK_E_FORKED,
/// REDLOCK_E_INTERNAL when the process has no descriptor to spare. Since 0.1.0.
int32_t redlock_fd(const redlock_t *rl);

/// For loops that cannot watch a descriptor, or poll by themselves: after how many milliseconds redlock_process() is
/// due if nothing arrives before. 0: now; -1: only when something arrives, also where rl is NULL or the parent's. Since
/// 0.1.0.
int64_t redlock_timeout_ms(const redlock_t *rl);

/// Does what is due and never waits: reads what has arrived, sends what was submitted, runs expired timers, queues
/// events. REDLOCK_OK also if nothing was due.
///
/// rl: not NULL.
///
/// REDLOCK_E_FORKED in a child, REDLOCK_E_INTERNAL after a defect: stop watching the descriptor. What nodes do is told
/// by events alone. Since 0.1.0.
redlock_status_t redlock_process(const redlock_t *rl);

/// The next event, oldest first, to be freed with redlock_event_free(). NULL when there is none, or rl is NULL or the
/// parent's. Events that are never fetched end with the handle; leases in them are released by redlock_free(). Since
/// 0.1.0.
redlock_event_t *redlock_next_event(const redlock_t *rl);

/// The next events, oldest first, as many as there are and fit: redlock_next_event() for runtimes in which each call is
/// expensive.
///
/// events: room for capacity pointers, each of which is to be freed with redlock_event_free(). NULL is allowed only where
/// capacity is 0.
///
/// How many events were written. 0 when there is none, or rl is NULL or the parent's. Since 0.1.0.
size_t redlock_next_events(const redlock_t *rl,
                           redlock_event_t **events,
                           size_t capacity);

// == Submitting
//
// The operations of the event loop. Each begins what its blocking namesake does, and returns at once; how it ends is
// told by one REDLOCK_EVENT_DONE with the tag that was given here. A call that fails has begun nothing, and there is no
// event: REDLOCK_E_INVALID for an argument, REDLOCK_E_CLOSED, REDLOCK_E_FORKED, REDLOCK_E_INTERNAL.
//
// tag: any number, 0 included; several operations may carry the same. redlock_cancel() ends by it, except by 0.
// error: NULL if no details are wanted.

/// Submits redlock_lock_request(). Its event carries the tag of the request and hands out the lease
/// (redlock_event_take_lease()), whose loss and automatic extensions are events with the same tag.
///
/// rl, request: not NULL. The request may be changed or freed afterwards. Since 0.1.0.
redlock_status_t redlock_submit_lock(const redlock_t *rl, const redlock_request_t *request, redlock_error_t **error);

/// Submits redlock_unlock(). From now on the lease is over.
///
/// lease: not NULL; it may be freed before the event comes. Since 0.1.0.
redlock_status_t redlock_submit_unlock(const redlock_lease_t *lease, uint64_t tag, redlock_error_t **error);

/// Submits redlock_extend().
///
/// lease: not NULL.
/// ttl_ms: at least 1. Since 0.1.0.
redlock_status_t redlock_submit_extend(const redlock_lease_t *lease,
                                       uint64_t ttl_ms,
                                       uint64_t tag,
                                       redlock_error_t **error);

/// Submits redlock_unlock_token(). rl, resource, token: not NULL. Since 0.1.0.
redlock_status_t redlock_submit_unlock_token(const redlock_t *rl,
                                             const char *resource,
                                             const char *token,
                                             uint64_t tag,
                                             redlock_error_t **error);

/// redlock_submit_unlock_token() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
redlock_status_t redlock_submit_unlock_token_bytes(const redlock_t *rl,
                                                   const void *resource,
                                                   size_t resource_len,
                                                   const void *token,
                                                   size_t token_len,
                                                   uint64_t tag,
                                                   redlock_error_t **error);

/// Submits redlock_extend_token(). rl, resource, token: not NULL. ttl_ms: at least 1. Since 0.1.0.
redlock_status_t redlock_submit_extend_token(const redlock_t *rl,
                                             const char *resource,
                                             const char *token,
                                             uint64_t ttl_ms,
                                             uint64_t tag,
                                             redlock_error_t **error);

/// redlock_submit_extend_token() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
redlock_status_t redlock_submit_extend_token_bytes(const redlock_t *rl,
                                                   const void *resource,
                                                   size_t resource_len,
                                                   const void *token,
                                                   size_t token_len,
                                                   uint64_t ttl_ms,
                                                   uint64_t tag,
                                                   redlock_error_t **error);

/// Submits redlock_inspect(); redlock_event_take_inspection() hands out what the nodes said. rl, resource: not NULL. Since
/// 0.1.0.
redlock_status_t redlock_submit_inspect(const redlock_t *rl,
                                        const char *resource,
                                        uint64_t tag,
                                        redlock_error_t **error);

/// redlock_submit_inspect() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
redlock_status_t redlock_submit_inspect_bytes(const redlock_t *rl,
                                              const void *resource,
                                              size_t resource_len,
                                              uint64_t tag,
                                              redlock_error_t **error);

// == Events
//
// What redlock_next_event() hands out. An event is of one of four kinds; the getters of the others answer as if there
// were nothing. Numbers of kinds and of work may be added: pass over those that are unknown.

enum {
    /// redlock_event_kind(): a submitted operation ended. There is exactly one for each.
    REDLOCK_EVENT_DONE = 1,

    /// redlock_event_kind(): a lease is over without having been released; the tag is that of its redlock_submit_lock().
    /// There is one at most for each lease.
    REDLOCK_EVENT_LEASE_LOST = 2,

    /// redlock_event_kind(): a lease has tried to extend itself; the tag is that of its redlock_submit_lock(). The status
    /// says whether it could. After a failure it tries again while there is time. One at most for each lease waits to be
    /// fetched: a newer one takes the place of the one before.
    REDLOCK_EVENT_LEASE_EXTENDED = 3,

    /// redlock_event_kind(): a node connected or disconnected.
    REDLOCK_EVENT_NODE = 4,

    /// redlock_event_operation(): redlock_submit_lock().
    REDLOCK_OPERATION_LOCK = 1,

    /// redlock_event_operation(): redlock_submit_unlock() or redlock_submit_unlock_token().
    REDLOCK_OPERATION_UNLOCK = 2,

    /// redlock_event_operation(): redlock_submit_extend() or redlock_submit_extend_token().
    REDLOCK_OPERATION_EXTEND = 3,

    /// redlock_event_operation(): redlock_submit_inspect().
    REDLOCK_OPERATION_INSPECT = 4
};

/// One of the REDLOCK_EVENT_ values; 0 where event is NULL. Since 0.1.0.
int32_t redlock_event_kind(const redlock_event_t *event);

/// The number that the operation was submitted with; of an event about a lease, the one that its acquisition was
/// submitted with. 0 for an event about a node, and where event is NULL. Since 0.1.0.
uint64_t redlock_event_tag(const redlock_event_t *event);

/// The result of the operation: the status that the blocking function would have returned. REDLOCK_E_LOST for
/// REDLOCK_EVENT_LEASE_LOST. REDLOCK_OK for an event about a node, and where event is NULL. Since 0.1.0.
redlock_status_t redlock_event_status(const redlock_event_t *event);

/// What was submitted: one of the REDLOCK_OPERATION_ values. 0 for other events than REDLOCK_EVENT_DONE, and where event
/// is NULL. Since 0.1.0.
int32_t redlock_event_operation(const redlock_event_t *event);

/// Why the operation or the extension failed. Borrowed from event. NULL where it did not fail, for other events, and
/// where event is NULL. Since 0.1.0.
const redlock_error_t *redlock_event_error(const redlock_event_t *event);

/// Takes the reason out of the event. It belongs to the caller, to be freed with redlock_error_free().
/// redlock_event_status() stays as it is.
///
/// NULL the second time, where nothing failed, and where event is NULL. Since 0.1.0.
redlock_error_t *redlock_event_take_error(redlock_event_t *event);

/// Takes the lease out of the event of a successful redlock_submit_lock(). It belongs to the caller, to be freed with
/// redlock_lease_free(). A lease that nobody takes is released by redlock_event_free().
///
/// NULL the second time, for every other event, and where event is NULL. Since 0.1.0.
redlock_lease_t *redlock_event_take_lease(redlock_event_t *event);

/// Takes what the nodes said out of the event of a successful redlock_submit_inspect(). It belongs to the caller, to
/// be freed with redlock_inspection_free().
///
/// NULL the second time, for every other event, and where event is NULL. Since 0.1.0.
redlock_inspection_t *redlock_event_take_inspection(redlock_event_t *event);

/// Which node connected or disconnected, counted from 0. -1 for other events than REDLOCK_EVENT_NODE, and where event is NULL.
/// Since 0.1.0.
int32_t redlock_event_node(const redlock_event_t *event);

/// 1 if that node was connected when the event was fetched. 0 if not, for other events than REDLOCK_EVENT_NODE, and
/// where event is NULL. Since 0.1.0.
int32_t redlock_event_node_is_up(const redlock_event_t *event);

/// Frees an event. A lease that is still in it is released, without waiting for the nodes. NULL is allowed. Since
/// 0.1.0.
void redlock_event_free(redlock_event_t *event);

// == Counters
//
// What a handle has done since it was made, copied at one moment. Counters only grow, except where it says
// otherwise.

/// Copies the counters of a handle. No server is asked.
///
/// rl: not NULL.
/// out: receives the copy, to be freed with redlock_stats_free(). Not NULL.
/// error: NULL if no details are wanted. Since 0.1.0.
redlock_status_t redlock_stats(const redlock_t *rl, redlock_stats_t **out, redlock_error_t **error);

/// Frees a copy of counters. NULL is allowed. Since 0.1.0.
void redlock_stats_free(redlock_stats_t *stats);

/// Rounds of SET sent to the nodes, retries included. 0 where stats is NULL. Since 0.1.0.
uint64_t redlock_stats_attempts(const redlock_stats_t *stats);

/// Locks acquired. 0 where stats is NULL. Since 0.1.0.
uint64_t redlock_stats_acquired(const redlock_stats_t *stats);

/// Attempts that failed because another holder was in the way. 0 where stats is NULL. Since 0.1.0.
uint64_t redlock_stats_contended(const redlock_stats_t *stats);

/// Operations that ended because too few nodes answered. 0 where stats is NULL. Since 0.1.0.
uint64_t redlock_stats_no_quorum(const redlock_stats_t *stats);

/// Leases released by a quorum of deletions. 0 where stats is NULL. Since 0.1.0.
uint64_t redlock_stats_released(const redlock_stats_t *stats);

/// Successful extensions. 0 where stats is NULL. Since 0.1.0.
uint64_t redlock_stats_extended(const redlock_stats_t *stats);

/// Leases that were over before they were released. 0 where stats is NULL. Since 0.1.0.
uint64_t redlock_stats_lost(const redlock_stats_t *stats);

/// Nanoseconds from the call to the lock, summed over the locks acquired. 0 where stats is NULL. Since 0.1.0.
uint64_t redlock_stats_acquire_ns_sum(const redlock_stats_t *stats);

/// How many nodes the handle has. The functions below answer 0 where stats is NULL or has no such node. Since
/// 0.1.0.
size_t redlock_stats_node_count(const redlock_stats_t *stats);

/// The URL of a node, counted from 0, without user name and password. Borrowed from stats. NULL where stats is
/// NULL or has no such node. Since 0.1.0.
const char *redlock_stats_node_url(const redlock_stats_t *stats, size_t node);

/// 1 if a node, counted from 0, is connected and answers in time, else 0. Since 0.1.0.
int32_t redlock_stats_node_is_up(const redlock_stats_t *stats, size_t node);

/// What a person should know about a node, counted from 0, in English: why it does not vote ("restarted 3.2 s
/// ago; no vote for 6.8 s more", "no answer for 1200 ms", a connection error), or what is wrong with it (it may
/// evict locks when its memory is full; it hides INFO, so that its restarts cannot be seen). "" where all is well.
/// Borrowed from stats. NULL where stats is NULL or has no such node. Since 0.1.0.
const char *redlock_stats_node_note(const redlock_stats_t *stats, size_t node);

/// Requests sent to a node, counted from 0. Since 0.1.0.
uint64_t redlock_stats_node_requests(const redlock_stats_t *stats, size_t node);

/// Replies received from a node, counted from 0. Since 0.1.0.
uint64_t redlock_stats_node_replies(const redlock_stats_t *stats, size_t node);

/// Requests that a node, counted from 0, did not answer within the node timeout. Since 0.1.0.
uint64_t redlock_stats_node_timeouts(const redlock_stats_t *stats, size_t node);

/// Error replies of a node, counted from 0. Since 0.1.0.
uint64_t redlock_stats_node_errors(const redlock_stats_t *stats, size_t node);

/// Connections made to a node, counted from 0, after the first. Since 0.1.0.
uint64_t redlock_stats_node_reconnects(const redlock_stats_t *stats, size_t node);

/// Nanoseconds from request to reply, summed over the replies of a node, counted from 0. Since 0.1.0.
uint64_t redlock_stats_node_latency_ns_sum(const redlock_stats_t *stats, size_t node);

/// Releases that a node, counted from 0, has not confirmed yet. Falls again when it does. Since 0.1.0.
uint64_t redlock_stats_node_pending_releases(const redlock_stats_t *stats, size_t node);

// == Version
//
// The macros tell which header a program was compiled with, the functions which library it runs with. Both
// come from the same place. Libraries of one major version run programs made for an older one.

/// The version of this header in parts.
#define REDLOCK_VERSION_MAJOR 0
#define REDLOCK_VERSION_MINOR 1
#define REDLOCK_VERSION_PATCH 0

/// The version of this header as a number that grows: major * 1000000 + minor * 1000 + patch.
#define REDLOCK_VERSION_NUMBER 1000

/// The version of this header as text.
#define REDLOCK_VERSION_STRING "0.1.0"

/// The version of the library as a number, comparable with REDLOCK_VERSION_NUMBER. Any thread. Since 0.1.0.
uint32_t redlock_version_number(void);

/// The version of the library as text, such as "0.1.0". Static, never NULL. Any thread. Since 0.1.0.
const char *redlock_version(void);

/// 1 if the library was built with TLS, so that it takes `rediss://` and `valkeys://` URLs, else 0. Any thread. Waits:
/// never. Since 0.1.0.
int32_t redlock_has_tls(void);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // REDLOCK_H
