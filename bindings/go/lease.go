package redlock

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/libredlock/libredlock/bindings/go/internal/capi"
)

// UnlockTimeout bounds [Lease.Unlock], whatever became of the context that the lock was taken with.
const UnlockTimeout = 5 * time.Second

// Lease is a lock that was taken. All its methods may be called by any number of goroutines.
//
// Every lease is ended by [Lease.Unlock]. One that is forgotten is logged when it is collected, and not released: the
// key stays on the servers until its time is over.
type Lease struct {
	client *Client // keeps the client alive as long as its leases
	state  *leaseState
}

// leaseState is what the engine knows of a lease, so that the Lease itself can be collected.
type leaseState struct {
	engine   *engine
	resource string
	ttl      time.Duration
	ctx      context.Context
	cancel   context.CancelCauseFunc
	tag      uint64
	token    string
	fence    uint64

	mu     sync.Mutex
	handle capi.Lease
	ended  error // nil while it is held
}

func newLeaseState(ctx context.Context, e *engine, r *capi.Request) *leaseState {
	s := &leaseState{engine: e, resource: r.Resource, ttl: time.Duration(r.TTLMs) * time.Millisecond}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return s
}

func (s *leaseState) begin(handle capi.Lease) {
	s.handle, s.token, s.fence = handle, handle.Token(), handle.Fence()
}

// end frees the handle, and says why the lease is over. The first reason stays.
func (s *leaseState) end(why error) {
	s.mu.Lock()
	if s.ended == nil {
		s.ended = why
		s.handle.Free()
		s.handle = capi.Lease{}
	}
	s.mu.Unlock()
	s.cancel(why)
}

func (s *leaseState) unregister() {
	s.engine.tables.Lock()
	delete(s.engine.leases, s.tag)
	s.engine.tables.Unlock()
}

// leaked runs when the Lease was collected. Its context may be in use still, and ends with the lease.
func (s *leaseState) leaked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return
	}
	s.ended = ErrLost
	left := time.Duration(max(s.handle.RemainingMs(), 0)) * time.Millisecond
	s.handle.Free()
	s.handle = capi.Lease{}
	go s.unregister()
	time.AfterFunc(left, func() { s.cancel(ErrLost) })
	s.engine.log.Error("redlock: a lease was garbage-collected without Unlock; its key stays until its time is over",
		"resource", s.resource, "left", left)
}

func newLease(c *Client, s *leaseState) *Lease {
	l := &Lease{c, s}
	runtime.AddCleanup(l, (*leaseState).leaked, s)
	return l
}

// Context is cancelled when the lease is over: with cause [ErrLost] when it ended early, [ErrReleased] after an unlock,
// [ErrClosed] when the client was closed. It carries the values of the context that the lock was taken with, but not
// its end, which bounds the wait for the lock only: see [Lease.WithContext].
func (l *Lease) Context() context.Context { return l.state.ctx }

// WithContext returns a context that ends with the lease, as [Lease.Context], and with parent. Call the function that
// it returns when the work is done.
func (l *Lease) WithContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	over := l.state.ctx
	stop := context.AfterFunc(over, func() { cancel(context.Cause(over)) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

// Done is closed when the lease is over.
func (l *Lease) Done() <-chan struct{} { return l.state.ctx.Done() }

// Resource is the name that was locked.
func (l *Lease) Resource() string { return l.state.resource }

// Token makes the lock ours: [Client.UnlockToken] in another process takes it.
func (l *Lease) Token() string { return l.state.token }

// Fence is the fencing token, larger than that of every earlier lease on the resource; 0 without [WithFence]. Send it
// with every write, and let the resource reject smaller ones.
func (l *Lease) Fence() uint64 { return l.state.fence }

// Remaining is for how much longer the lock is ours; 0 when it is over. No server is asked.
func (l *Lease) Remaining() time.Duration {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	if l.state.ended != nil {
		return 0
	}
	return time.Duration(max(l.state.handle.RemainingMs(), 0)) * time.Millisecond
}

// Until is when the lease is over, as far as is known now; the zero time when it is over already. It moves: forward by
// an extension, back when a node lost the key.
func (l *Lease) Until() time.Time {
	if left := l.Remaining(); left > 0 {
		return time.Now().Add(left)
	}
	return time.Time{}
}

// Unlock releases the lock, and needs no live context: it waits [UnlockTimeout] at most. The lease is over whatever it
// returns. [ErrLost]: somebody else may have had the lock meanwhile. After that, or [ErrUnknown] or [ErrNoQuorum], the
// key goes as soon as the nodes answer, at the latest with its time.
func (l *Lease) Unlock() error {
	ctx, cancel := context.WithTimeout(context.Background(), UnlockTimeout)
	defer cancel()
	return l.UnlockContext(ctx)
}

// UnlockContext is [Lease.Unlock] for as long as ctx lasts. The release is sent even if ctx is over.
func (l *Lease) UnlockContext(ctx context.Context) error {
	s := l.state
	s.mu.Lock()
	if s.ended != nil {
		status := int32(capi.Lost)
		if s.ended == ErrClosed {
			status = capi.Closed
		}
		s.mu.Unlock()
		return newError("unlock", s.resource, status, nil)
	}
	o, err := s.engine.submit("unlock", s.resource, nil, func(tag uint64, alone bool) (int32, *capi.Failure) {
		return s.handle.SubmitUnlock(s.engine.handle, tag, alone)
	})
	s.ended = ErrReleased
	s.handle.Free()
	s.handle = capi.Lease{}
	s.mu.Unlock()
	s.unregister()
	s.cancel(ErrReleased)
	runtime.KeepAlive(l)
	if err != nil {
		return err
	}
	select {
	case r := <-o.done:
		return r.err("unlock", s.resource)
	case <-ctx.Done():
		s.engine.forget(o)
		return contextError(ctx, "unlock", s.resource, nil)
	}
}

// Detach gives the lease up without releasing the lock, which belongs to its token from here on: for another mutex or
// process, by [Client.UnlockToken]. Its context ends with cause [ErrReleased].
func (l *Lease) Detach() {
	s := l.state
	s.unregister()
	s.end(ErrReleased)
	runtime.KeepAlive(l)
}

// Extend makes the lock last ttl from now on, or as long as it was taken for where ttl is 0. It is never shortened.
// After any failure but [ErrLost] the lease goes on for [Lease.Remaining].
func (l *Lease) Extend(ctx context.Context, ttl time.Duration) error {
	s := l.state
	if ttl == 0 {
		ttl = s.ttl
	}
	if ttl < 0 {
		return newError("extend", s.resource, capi.Invalid, nil)
	}
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return newError("extend", s.resource, capi.Lost, nil)
	}
	o, err := s.engine.submit("extend", s.resource, nil, func(tag uint64, _ bool) (int32, *capi.Failure) {
		return s.handle.SubmitExtend(uint64(millis(ttl)), tag)
	})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	r := s.engine.wait(ctx, o)
	runtime.KeepAlive(l)
	return r.errIn(ctx, "extend", s.resource)
}

func (r result) err(op, resource string) error {
	if r.Status == capi.OK {
		return nil
	}
	return newError(op, resource, r.Status, r.Failure)
}

func (r result) errIn(ctx context.Context, op, resource string) error {
	if r.Status == capi.Cancelled && ctx.Err() != nil {
		return contextError(ctx, op, resource, r.Failure)
	}
	return r.err(op, resource)
}
