package redlock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/libredlock/libredlock/bindings/go/internal/capi"
)

// Client stands for one set of nodes. One is enough for a process; all its methods may be called by any number of
// goroutines.
type Client struct{ engine *engine }

// Stats are the counters of a client at one moment.
type Stats = capi.Stats

// NodeStats are the counters of one node.
type NodeStats = capi.NodeStats

// Version of the library that the program runs with.
func Version() string { return capi.Version() }

// New makes a client for the nodes at these URLs: redis://[user:password@]host[:port][/db], rediss://... for TLS,
// unix:///path. At least 1, at most 15; an odd number survives more failures. All clients must use the same list. It
// returns at once and connects in the background: see [Client.WaitReady].
func New(urls []string, options ...Option) (*Client, error) {
	if capi.VersionNumber() < capi.HeaderNumber {
		return nil, fmt.Errorf("%w: %s is loaded, built with %d", ErrVersion, capi.Version(), capi.HeaderNumber)
	}
	config := config{numbers: map[string]int64{}, strings: map[string]string{}, log: slog.Default()}
	for _, option := range options {
		option(&config)
	}
	o := capi.NewOptions()
	defer o.Free()
	for name, value := range config.numbers {
		if status := o.SetNumber(name, value); status != capi.OK {
			return nil, newError("new", name, status, nil)
		}
	}
	for name, value := range config.strings {
		if status := o.SetString(name, value); status != capi.OK {
			return nil, newError("new", name, status, nil)
		}
	}
	handle, status, failure := capi.New(urls, o)
	if status != capi.OK {
		return nil, newError("new", "", status, failure)
	}
	e, err := newEngine(handle, config.log)
	if err != nil {
		handle.Free()
		return nil, err
	}
	c := &Client{e}
	runtime.AddCleanup(c, func(e *engine) {
		e.mu.RLock()
		freed := e.freed
		e.mu.RUnlock()
		if !freed {
			e.log.Error("redlock: a client was garbage-collected without Close")
			go e.close(false, 0)
		}
	}, e)
	return c, nil
}

// Close ends the client: calls in progress return [ErrClosed], and so does every later one. Leases that are held stay
// locked until their time is over. It does not wait for any node.
func (c *Client) Close() error {
	c.engine.close(false, 0)
	runtime.KeepAlive(c)
	return nil
}

// Shutdown is Close that releases the leases that are held, and waits until the nodes have confirmed that or the
// deadline of ctx has come, then with [ErrUnknown].
func (c *Client) Shutdown(ctx context.Context) error {
	timeout := int64(-1)
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(millis(time.Until(deadline)), 0)
	}
	if ctx.Err() != nil {
		timeout = 0
	}
	status, failure := c.engine.close(true, timeout)
	runtime.KeepAlive(c)
	if status != capi.OK {
		return newError("close", "", status, failure)
	}
	return nil
}

// WaitReady waits until a quorum of nodes is connected and ready. Calling it is optional: it tells a program that
// starts whether its configuration works.
func (c *Client) WaitReady(ctx context.Context) error {
	canceller := capi.NewCanceller()
	defer canceller.Free()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); canceller.Cancel() })
	e := c.engine
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.freed {
		stop()
		return newError("ready", "", capi.Closed, nil)
	}
	status, failure := e.handle.WaitReady(canceller)
	if !stop() {
		<-stopped
	}
	runtime.KeepAlive(c)
	return result{Event: capi.Event{Status: status, Failure: failure}}.errIn(ctx, "ready", "")
}

// Lock takes the lock on a resource, and waits while somebody else holds it: as long as ctx lasts, or as [WithWait]
// says.
//
// [ErrNotAcquired] if somebody else held it to the end of [WithWait], [ErrNoQuorum] if too few nodes answered. A context
// that ends the wait is an error that is [ErrCanceled] and [context.Canceled] or [context.DeadlineExceeded]. No key is
// left behind.
func (c *Client) Lock(ctx context.Context, resource string, options ...LockOption) (*Lease, error) {
	r := capi.Request{Resource: resource, TTLMs: uint64(DefaultTTL / time.Millisecond), WaitMs: -1, Retries: capi.HandleRetry,
		Watch: true}
	for _, option := range options {
		option(&r)
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx, "lock", resource, nil)
	}
	e := c.engine
	s := newLeaseState(ctx, e, &r)
	o, err := e.submit("lock", resource, s, func(tag uint64, alone bool) (int32, *capi.Failure) {
		r.Tag, r.Send = tag, alone
		return e.handle.SubmitLock(&r)
	})
	if err != nil {
		return nil, err
	}
	done := e.wait(ctx, o)
	runtime.KeepAlive(c)
	if done.lease == nil {
		s.cancel(ErrReleased)
		return nil, done.errIn(ctx, "lock", resource)
	}
	lease := newLease(c, s)
	if ctx.Err() != nil {
		// The lock and the end of the context met. The context was first for the caller.
		_ = lease.Unlock()
		return nil, contextError(ctx, "lock", resource, nil)
	}
	return lease, nil
}

// TryLock is [Client.Lock] with one attempt: [ErrNotAcquired] if somebody else holds the lock.
func (c *Client) TryLock(ctx context.Context, resource string, options ...LockOption) (*Lease, error) {
	return c.Lock(ctx, resource, append([]LockOption{WithWait(0)}, options...)...)
}

// Do calls f while it holds the lock on a resource, which extends itself meanwhile. The context of f ends with ctx and
// when the lock is lost, with cause [ErrLost]. The error is that of the lock or of f, joined with that of the unlock.
func (c *Client) Do(ctx context.Context, resource string, f func(ctx context.Context) error, options ...LockOption) (err error) {
	lease, err := c.Lock(ctx, resource, append([]LockOption{WithAutoExtend()}, options...)...)
	if err != nil {
		return err
	}
	work, cancel := lease.WithContext(ctx)
	defer cancel()
	defer func() { err = errors.Join(err, lease.Unlock()) }()
	return f(work)
}

// UnlockToken releases the lock on a resource if it belongs to this token; else [ErrLost].
func (c *Client) UnlockToken(ctx context.Context, resource, token string) error {
	_, err := c.call(ctx, "unlock", resource, func(tag uint64, _ bool) (int32, *capi.Failure) {
		return c.engine.handle.SubmitUnlockToken(resource, token, tag)
	})
	return err
}

// ExtendToken makes the lock on a resource last ttl from now on if it belongs to this token; else [ErrLost]. It is
// never shortened.
func (c *Client) ExtendToken(ctx context.Context, resource, token string, ttl time.Duration) error {
	_, err := c.call(ctx, "extend", resource, func(tag uint64, _ bool) (int32, *capi.Failure) {
		return c.engine.handle.SubmitExtendToken(resource, token, uint64(max(millis(ttl), 0)), tag)
	})
	return err
}

// Inspection is what the nodes said about one resource.
type Inspection struct {
	// Held: one token is on a quorum of the nodes.
	Held bool
	// Token is the one on most nodes, its first 256 bytes.
	Token string
	// Remaining is for how much longer that token stays; -1 is for ever.
	Remaining time.Duration
	// NodesHeld is how many nodes have that token.
	NodesHeld int
	Nodes     []InspectionNode
}

// InspectionNode is what one node said.
type InspectionNode struct {
	URL       string
	Outcome   Outcome
	Text      string
	Token     string
	Remaining time.Duration
}

// Inspect asks all nodes who holds the lock on a resource, and changes nothing. Never act on it in place of a lock.
func (c *Client) Inspect(ctx context.Context, resource string) (*Inspection, error) {
	r, err := c.call(ctx, "inspect", resource, func(tag uint64, _ bool) (int32, *capi.Failure) {
		return c.engine.handle.SubmitInspect(resource, tag)
	})
	if err != nil {
		return nil, err
	}
	in := &Inspection{Held: r.Inspection.Held, Token: r.Inspection.Token, Remaining: lifetime(r.Inspection.RemainingMs),
		NodesHeld: r.Inspection.NodesHeld}
	for _, n := range r.Inspection.Nodes {
		in.Nodes = append(in.Nodes, InspectionNode{n.URL, Outcome(n.Outcome), n.Text, n.Token, lifetime(n.RemainingMs)})
	}
	return in, nil
}

func lifetime(ms int64) time.Duration {
	if ms < 0 {
		return -1
	}
	return time.Duration(ms) * time.Millisecond
}

// Stats copies the counters of the client. No server is asked.
func (c *Client) Stats() (Stats, error) {
	e := c.engine
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.freed {
		return Stats{}, newError("stats", "", capi.Closed, nil)
	}
	stats, status, failure := e.handle.Stats()
	runtime.KeepAlive(c)
	if status != capi.OK {
		return Stats{}, newError("stats", "", status, failure)
	}
	return stats, nil
}

func (c *Client) call(ctx context.Context, op, resource string, begin func(uint64, bool) (int32, *capi.Failure)) (result, error) {
	if ctx.Err() != nil {
		return result{}, contextError(ctx, op, resource, nil)
	}
	o, err := c.engine.submit(op, resource, nil, begin)
	if err != nil {
		return result{}, err
	}
	r := c.engine.wait(ctx, o)
	runtime.KeepAlive(c)
	return r, r.errIn(ctx, op, resource)
}
