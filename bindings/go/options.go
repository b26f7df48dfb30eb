package redlock

import (
	"log/slog"
	"time"

	"github.com/libredlock/libredlock/bindings/go/internal/capi"
)

// DefaultTTL is how long a lock lasts where [WithTTL] does not say otherwise.
const DefaultTTL = 10 * time.Second

// Option is how a [Client] behaves.
type Option func(*config)

type config struct {
	numbers map[string]int64
	strings map[string]string
	log     *slog.Logger
}

func number(name string, value int64) Option { return func(c *config) { c.numbers[name] = value } }
func text(name, value string) Option         { return func(c *config) { c.strings[name] = value } }
func millis(d time.Duration) int64 {
	if d > 0 && d < time.Millisecond {
		return 1
	}
	return int64(d / time.Millisecond)
}
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// WithNodeTimeout sets after how long a node is not waited for. Default 100 ms.
func WithNodeTimeout(d time.Duration) Option { return number("node_timeout_ms", millis(d)) }

// WithStallTimeout sets after how long without an answer a connection is given up. Default 2 s.
func WithStallTimeout(d time.Duration) Option { return number("stall_timeout_ms", millis(d)) }

// WithConnectTimeout sets how long connecting may take. Default 500 ms.
func WithConnectTimeout(d time.Duration) Option { return number("connect_timeout_ms", millis(d)) }

// WithRetryDelay sets the pause before another attempt where no server wakes us, and a random addition to it. Default
// 200 ms and 100 ms.
func WithRetryDelay(delay, jitter time.Duration) Option {
	return func(c *config) {
		c.numbers["retry_delay_ms"], c.numbers["retry_jitter_ms"] = millis(delay), millis(jitter)
	}
}

// WithRetryCount limits how often a failed attempt is repeated; -1 is without limit, the default.
func WithRetryCount(n int) Option { return number("retry_count", int64(n)) }

// WithDriftPPM sets how far apart the rates of clocks may be, in parts per million. Default 10000.
func WithDriftPPM(ppm int) Option { return number("drift_ppm", int64(ppm)) }

// WithKeyPrefix stands before each name in the keys on the servers.
func WithKeyPrefix(prefix string) Option { return text("key_prefix", prefix) }

// WithMaxTTL sets the longest TTL that any client of these nodes uses.
func WithMaxTTL(d time.Duration) Option { return number("max_ttl_ms", millis(d)) }

// Guard is when a node that restarted may vote again.
type Guard int32

// The guards; redlock.h says what each asks of the nodes.
const (
	GuardOff Guard = iota
	GuardSeen
	GuardStrict
)

// WithRestartGuard sets when a node that restarted may vote again. Default GuardSeen.
func WithRestartGuard(g Guard) Option { return number("restart_guard", int64(g)) }

// WithWake says whether servers tell waiters when a lock is free. Default true.
func WithWake(on bool) Option { return number("wake", bit(on)) }

// WithProtocol sets 2 or 3 for RESP2 or RESP3; 0 takes what the server has.
func WithProtocol(resp int) Option { return number("protocol", int64(resp)) }

// WithAvoidLua says whether keys are deleted by a command instead of a script where the server has one. Default true.
func WithAvoidLua(on bool) Option { return number("avoid_lua", bit(on)) }

// WithTLSCAFile sets the file of the certificates that a server's must go back to.
func WithTLSCAFile(path string) Option { return text("tls_ca_file", path) }

// WithTLSCertificate sets our own certificate and its key.
func WithTLSCertificate(certFile, keyFile string) Option {
	return func(c *config) { c.strings["tls_cert_file"], c.strings["tls_key_file"] = certFile, keyFile }
}

// WithTLSInsecure turns off the check of the servers' certificates.
func WithTLSInsecure() Option { return number("tls_insecure", 1) }

// WithLogin sets user and password for nodes whose URL has none. An empty user is the default user.
func WithLogin(user, password string) Option {
	return func(c *config) {
		if user != "" {
			c.strings["username"] = user
		}
		c.strings["password"] = password
	}
}

// WithClientName names our connections in CLIENT LIST.
func WithClientName(name string) Option { return text("client_name", name) }

// WithLogger sets where leaks are logged. Default [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.log = l } }

// LockOption is how one lock is taken.
type LockOption func(*capi.Request)

// WithTTL sets how long the lock lasts unless it is extended. Default [DefaultTTL].
func WithTTL(d time.Duration) LockOption {
	return func(r *capi.Request) { r.TTLMs = uint64(max(millis(d), 0)) }
}

// WithWait sets how long to wait while somebody else holds the lock: 0 makes one attempt. Then the error is
// [ErrNotAcquired]. By default only the context ends the wait.
func WithWait(d time.Duration) LockOption { return func(r *capi.Request) { r.WaitMs = millis(d) } }

// WithRetries limits how often a failed attempt is repeated.
func WithRetries(n int) LockOption { return func(r *capi.Request) { r.Retries = int64(n) } }

// WithFence asks for a fencing token: [Lease.Fence].
func WithFence() LockOption { return func(r *capi.Request) { r.Fence = true } }

// WithAutoExtend lets the lease extend itself until it is unlocked or lost.
func WithAutoExtend() LockOption { return func(r *capi.Request) { r.AutoExtend = true } }

// WithMaxHold ends the automatic extension so long after the lock was taken, so that a holder that hangs does not keep
// it for ever.
func WithMaxHold(d time.Duration) LockOption {
	return func(r *capi.Request) { r.MaxHoldMs = uint64(max(millis(d), 0)) }
}

// WithToken sets a token of one's own, which must differ from every other that is in use for the resource.
func WithToken(token string) LockOption { return func(r *capi.Request) { r.Token = token } }

// WithoutWatch saves requests for leases that are held only briefly: a deletion on the servers is noticed at the
// deadline only.
func WithoutWatch() LockOption { return func(r *capi.Request) { r.Watch = false } }

// WithReportRemaining lets a failed attempt take one more round trip to tell for how long others hold the lock:
// [NodeError.Remaining].
func WithReportRemaining() LockOption { return func(r *capi.Request) { r.ReportRemaining = true } }
