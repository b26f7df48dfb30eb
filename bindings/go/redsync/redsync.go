// Package redsync has the interface of github.com/go-redsync/redsync/v4 on libredlock. Its users change the import, and
// say where the servers are instead of handing over pools of another client:
//
//	rs := redsync.New(redsync.NewPool("redis://10.0.0.1"), redsync.NewPool("redis://10.0.0.2"), redsync.NewPool("redis://10.0.0.3"))
//	mutex := rs.NewMutex("orders/42")
//	if err := mutex.Lock(); err != nil { ... }
//	defer mutex.Unlock()
//
// Keys and values are those of redsync, so that both exclude each other on the same servers. What differs: a waiter is
// woken when the lock is free instead of sleeping for its delay; a hung node is not waited for; [Mutex.Until] is reckoned
// on a clock that does not go back.
package redsync

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"sync"
	"time"

	redlock "github.com/libredlock/libredlock/bindings/go"
)

// What redsync uses where no option says otherwise.
const (
	defaultExpiry        = 8 * time.Second
	defaultTries         = 32
	minRetryDelay        = 50 * time.Millisecond
	maxRetryDelay        = 250 * time.Millisecond
	defaultDriftFactor   = 0.01
	defaultTimeoutFactor = 0.05
)

var (
	// ErrFailed is the error of [Mutex.Lock] when the lock was not acquired.
	ErrFailed = errors.New("redsync: failed to acquire lock")
	// ErrExtendFailed is the error of [Mutex.Extend].
	ErrExtendFailed = errors.New("redsync: failed to extend lock")
	// ErrLockAlreadyExpired is the error of [Mutex.Unlock] when the lock was not held any more.
	ErrLockAlreadyExpired = errors.New("redsync: failed to unlock, lock was already expired")
)

// ErrTaken is the error of a lock that is held by another on these nodes, counted from 0. It is [ErrFailed], too.
type ErrTaken struct{ Nodes []int }

func (e *ErrTaken) Error() string {
	return fmt.Sprintf("lock already taken, locked nodes: %v", e.Nodes)
}

// Unwrap makes errors.Is know [ErrFailed].
func (e *ErrTaken) Unwrap() error { return ErrFailed }

// ErrNodeTaken says of one node, counted from 0, that another has the lock there.
type ErrNodeTaken struct{ Node int }

func (e *ErrNodeTaken) Error() string { return fmt.Sprintf("node #%d: lock already taken", e.Node) }

// RedisError says what went wrong with one node, counted from 0.
type RedisError struct {
	Node int
	Err  error
}

func (e *RedisError) Error() string { return fmt.Sprintf("node #%d: %s", e.Node, e.Err) }

// Unwrap returns what went wrong.
func (e *RedisError) Unwrap() error { return e.Err }

// Pool is where one server is.
type Pool struct{ url string }

// NewPool names a server by its URL: redis://[user:password@]host[:port][/db], rediss://..., unix:///path.
func NewPool(url string) Pool { return Pool{url} }

// Redsync makes mutexes on one set of servers. Any number of goroutines may use it.
type Redsync struct {
	urls []string
	// The options of libredlock depend on a mutex's timeout factor; most have the same.
	mu      sync.Mutex
	clients map[time.Duration]*redlock.Client
}

// New makes mutexes on these servers. What is wrong with them is told by the first use of a mutex.
func New(pools ...Pool) *Redsync {
	r := &Redsync{clients: map[time.Duration]*redlock.Client{}}
	for _, pool := range pools {
		r.urls = append(r.urls, pool.url)
	}
	return r
}

// Close closes the connections; redsync has no such method, because its pools are the caller's.
func (r *Redsync) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for timeout, client := range r.clients {
		err = errors.Join(err, client.Close())
		delete(r.clients, timeout)
	}
	return err
}

func (r *Redsync) clientFor(timeout time.Duration) (*redlock.Client, error) {
	timeout = max(timeout, time.Millisecond).Round(time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	if client := r.clients[timeout]; client != nil {
		return client, nil
	}
	client, err := redlock.New(r.urls, redlock.WithNodeTimeout(timeout), redlock.WithRetryDelay(minRetryDelay, maxRetryDelay-minRetryDelay))
	if err == nil {
		r.clients[timeout] = client
	}
	return client, err
}

// NewMutex is a lock with this name.
func (r *Redsync) NewMutex(name string, options ...Option) *Mutex {
	m := &Mutex{
		rs: r, name: name, expiry: defaultExpiry, tries: defaultTries,
		driftFactor: defaultDriftFactor, timeoutFactor: defaultTimeoutFactor,
		delay: func(int) time.Duration {
			return minRetryDelay + mathrand.N(maxRetryDelay-minRetryDelay)
		},
		genValue: genValue,
	}
	for _, option := range options {
		option.Apply(m)
	}
	return m
}

func genValue() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

// Option configures a mutex.
type Option interface{ Apply(*Mutex) }

// OptionFunc is a function that is an [Option].
type OptionFunc func(*Mutex)

// Apply calls it.
func (f OptionFunc) Apply(m *Mutex) { f(m) }

// WithExpiry sets how long the lock lasts. Default 8 s.
func WithExpiry(expiry time.Duration) Option { return OptionFunc(func(m *Mutex) { m.expiry = expiry }) }

// WithTries sets how often the lock is tried. Default 32. One that is waited for is also taken when it becomes free
// between two tries.
func WithTries(tries int) Option { return OptionFunc(func(m *Mutex) { m.tries = tries }) }

// WithRetryDelay sets how long a try waits before the next.
func WithRetryDelay(delay time.Duration) Option {
	return OptionFunc(func(m *Mutex) { m.delay = func(int) time.Duration { return delay } })
}

// DelayFunc says how long to wait before a try.
type DelayFunc func(tries int) time.Duration

// WithRetryDelayFunc sets how long each try waits before the next.
func WithRetryDelayFunc(delay DelayFunc) Option {
	return OptionFunc(func(m *Mutex) { m.delay = delay })
}

// WithSetNXOnExtend lets an extension take a lock whose keys are gone, if nobody else has it.
func WithSetNXOnExtend() Option { return OptionFunc(func(m *Mutex) { m.setNXOnExtend = true }) }

// WithDriftFactor sets by what share of its expiry a lock ends earlier. Default 0.01; the library's own drift, which is as
// much, is the least.
func WithDriftFactor(factor float64) Option {
	return OptionFunc(func(m *Mutex) { m.driftFactor = factor })
}

// WithTimeoutFactor sets for what share of the expiry a node is waited for. Default 0.05.
func WithTimeoutFactor(factor float64) Option {
	return OptionFunc(func(m *Mutex) { m.timeoutFactor = factor })
}

// WithGenValueFunc sets who makes the value of the lock.
func WithGenValueFunc(f func() (string, error)) Option {
	return OptionFunc(func(m *Mutex) { m.genValue = f })
}

// WithValue sets the value of a lock that another mutex has acquired, to extend or unlock it.
func WithValue(value string) Option { return OptionFunc(func(m *Mutex) { m.value = value }) }

// WithFailFast is what this library does anyway: it does not wait for nodes that cannot change the outcome.
func WithFailFast(bool) Option { return OptionFunc(func(*Mutex) {}) }

// WithShufflePools has no meaning: all nodes are asked at once.
func WithShufflePools(bool) Option { return OptionFunc(func(*Mutex) {}) }

// Mutex is a lock. Like redsync's it is for one goroutine at a time.
type Mutex struct {
	rs                         *Redsync
	name, value                string
	expiry                     time.Duration
	tries                      int
	delay                      DelayFunc
	driftFactor, timeoutFactor float64
	genValue                   func() (string, error)
	setNXOnExtend              bool
	until                      time.Time
}

// Name of the lock: the key.
func (m *Mutex) Name() string { return m.name }

// Value of the lock: what is in the key; empty before it was acquired.
func (m *Mutex) Value() string { return m.value }

// Until is when the lock ends; in the past, or zero, if it is not held.
func (m *Mutex) Until() time.Time { return m.until }

// Lock is [Mutex.LockContext] without an end.
func (m *Mutex) Lock() error { return m.LockContext(context.Background()) }

// LockContext acquires the lock. [ErrTaken] if another held it at every try.
func (m *Mutex) LockContext(ctx context.Context) error { return m.lock(ctx, m.tries) }

// TryLock is [Mutex.TryLockContext] without an end.
func (m *Mutex) TryLock() error { return m.TryLockContext(context.Background()) }

// TryLockContext acquires the lock with one try.
func (m *Mutex) TryLockContext(ctx context.Context) error { return m.lock(ctx, 1) }

func (m *Mutex) client() (*redlock.Client, error) {
	return m.rs.clientFor(time.Duration(float64(m.expiry) * m.timeoutFactor))
}

func (m *Mutex) lock(ctx context.Context, tries int) error {
	if ctx == nil {
		ctx = context.Background()
	}
	value, err := m.genValue()
	if err != nil {
		return err
	}
	client, err := m.client()
	if err != nil {
		return err
	}
	wait := m.wait(tries)
	lease, err := client.Lock(ctx, m.name, redlock.WithTTL(m.expiry), redlock.WithToken(value), redlock.WithWait(wait),
		redlock.WithRetries(max(tries-1, 0)), redlock.WithoutWatch())
	if err != nil {
		return failure(err, ErrFailed)
	}
	// The lock belongs to its value from here on, as in redsync: to be released by this mutex or another.
	left := lease.Remaining()
	lease.Detach()
	m.value, m.until = value, m.reckon(left)
	return nil
}

// Delays beyond this try are taken to be as long as this one's: a million tries must not cost a million calls.
const delaysAsked = 64

// wait is for how long all tries together wait.
func (m *Mutex) wait(tries int) (sum time.Duration) {
	const most = time.Duration(math.MaxInt64 / 2)
	for try := 1; try < tries; try++ {
		delay, times := min(max(m.delay(try), 0), most), 1
		if try == delaysAsked {
			times = tries - try
		}
		if delay > (most-sum)/time.Duration(times) {
			return most
		}
		sum += delay * time.Duration(times)
		if try == delaysAsked {
			break
		}
	}
	return sum
}

// When a lock ends that the library counts on for so long.
func (m *Mutex) reckon(left time.Duration) time.Time {
	return time.Now().Add(left - time.Duration(float64(m.expiry)*max(m.driftFactor-defaultDriftFactor, 0)))
}

// Unlock is [Mutex.UnlockContext] without an end.
func (m *Mutex) Unlock() (bool, error) { return m.UnlockContext(context.Background()) }

// UnlockContext releases the lock. False with [ErrLockAlreadyExpired] if it was not held any more.
func (m *Mutex) UnlockContext(ctx context.Context) (bool, error) {
	client, err := m.client()
	if err != nil {
		return false, err
	}
	err = client.UnlockToken(orBackground(ctx), m.name, m.value)
	if errors.Is(err, redlock.ErrLost) || m.value == "" {
		return false, ErrLockAlreadyExpired
	}
	return err == nil, err
}

// Extend is [Mutex.ExtendContext] without an end.
func (m *Mutex) Extend() (bool, error) { return m.ExtendContext(context.Background()) }

// ExtendContext makes the lock last for its expiry from now on. False with an error if it was not held any more.
func (m *Mutex) ExtendContext(ctx context.Context) (bool, error) {
	client, err := m.client()
	if err != nil {
		return false, err
	}
	if m.value == "" {
		return false, ErrExtendFailed
	}
	begun := time.Now()
	err = client.ExtendToken(orBackground(ctx), m.name, m.value, m.expiry)
	if errors.Is(err, redlock.ErrLost) && m.setNXOnExtend {
		lease, again := client.Lock(orBackground(ctx), m.name, redlock.WithTTL(m.expiry), redlock.WithToken(m.value), redlock.WithWait(0),
			redlock.WithoutWatch())
		if again == nil {
			lease.Detach()
		}
		err = again
	}
	if err != nil {
		return false, failure(err, ErrExtendFailed)
	}
	drift := time.Duration(float64(m.expiry)*max(m.driftFactor, defaultDriftFactor)) + 2*time.Millisecond
	m.until = begun.Add(m.expiry - drift)
	return true, nil
}

// Valid is [Mutex.ValidContext] without an end.
func (m *Mutex) Valid() (bool, error) { return m.ValidContext(context.Background()) }

// ValidContext asks the nodes whether a quorum of them has this mutex' value.
func (m *Mutex) ValidContext(ctx context.Context) (bool, error) {
	client, err := m.client()
	if err != nil {
		return false, err
	}
	if m.value == "" {
		return false, nil
	}
	found, err := client.Inspect(orBackground(ctx), m.name)
	if err != nil {
		return false, err
	}
	return found.Held && found.Token == m.value, nil
}

func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// What redsync says: the sentinel, and what each node had to do with it.
func failure(err error, sentinel error) error {
	if errors.Is(err, redlock.ErrCanceled) {
		return err
	}
	all := []error{sentinel, err}
	var detail *redlock.Error
	var taken []int
	if errors.As(err, &detail) {
		for node, one := range detail.Nodes {
			switch one.Outcome {
			case redlock.OutcomeHeld, redlock.OutcomeNotMine:
				taken = append(taken, node)
				all = append(all, &ErrNodeTaken{node})
			case redlock.OutcomeRefused, redlock.OutcomePermanent, redlock.OutcomeTimeout, redlock.OutcomeUnreachable, redlock.OutcomeProtocol:
				all = append(all, &RedisError{node, errors.New(one.Text)})
			}
		}
	}
	if errors.Is(err, redlock.ErrNotAcquired) && sentinel == ErrFailed {
		return errors.Join(append([]error{&ErrTaken{taken}}, all...)...)
	}
	return errors.Join(all...)
}
