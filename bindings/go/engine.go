package redlock

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/libredlock/libredlock/bindings/go/internal/capi"
)

// engine is a handle and the goroutine that drives it. That goroutine parks in Go's poller on the handle's descriptor;
// callers park on channels. Nothing in it knows a Client or a Lease, so that those can be collected.
type engine struct {
	// handle is valid until freed; calls hold mu for reading, freeing holds it for writing.
	mu     sync.RWMutex
	handle capi.Handle
	freed  bool

	file    *os.File
	stopped chan struct{}
	log     *slog.Logger
	closing sync.Mutex // held by close

	// Guards what follows.
	tables sync.Mutex
	tag    uint64
	ops    map[uint64]*operation
	leases map[uint64]*leaseState
	// ended is what new operations are answered, once it is not 0.
	ended int32
}

type operation struct {
	tag  uint64
	done chan result
	// Set for a lock: what becomes a lease.
	lease *leaseState
}

type result struct {
	capi.Event
	lease *leaseState
}

// So many operations at once make it worthwhile to let one turn of the loop send for all.
const sendAtOnce = 4

func newEngine(handle capi.Handle, log *slog.Logger) (*engine, error) {
	fd := handle.Fd()
	if fd < 0 {
		return nil, newError("new", "", int32(fd), nil)
	}
	// A descriptor of our own: the runtime closes what it polls.
	own, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("fcntl", errno)
	}
	if err := syscall.SetNonblock(int(own), true); err != nil {
		syscall.Close(int(own))
		return nil, os.NewSyscallError("fcntl", err)
	}
	e := &engine{handle: handle, log: log, file: os.NewFile(own, "redlock"), stopped: make(chan struct{}),
		ops: map[uint64]*operation{}, leases: map[uint64]*leaseState{}}
	raw, err := e.file.SyscallConn()
	if err != nil {
		e.file.Close()
		return nil, err
	}
	go e.drive(raw)
	return e, nil
}

func (e *engine) drive(raw syscall.RawConn) {
	defer close(e.stopped)
	var batch capi.Batch
	status := int32(capi.OK)
	// Parks in the poller whenever the function says false, and ends when the file is closed.
	_ = raw.Read(func(uintptr) bool {
		status = e.drain(&batch)
		return status != capi.OK
	})
	if status == capi.OK {
		status = capi.Closed
	}
	e.fail(status)
}

// drain does what is due until there are no more events.
func (e *engine) drain(batch *capi.Batch) int32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for !e.freed {
		more, status := e.handle.Process(batch, e.dispatch)
		if status != capi.OK || !more {
			return status
		}
	}
	return capi.Closed
}

func (e *engine) dispatch(event capi.Event) {
	var lost *leaseState
	// A lease's own lock comes before that of the tables.
	defer func() {
		if lost != nil {
			lost.end(ErrLost)
		}
	}()
	e.tables.Lock()
	defer e.tables.Unlock()
	switch event.Kind {
	case capi.EventDone:
		op := e.ops[event.Tag]
		delete(e.ops, event.Tag)
		r := result{Event: event}
		if event.Lease.Valid() {
			if op == nil || op.lease == nil {
				event.Lease.UnlockNowait()
				event.Lease.Free()
				return
			}
			// Known before its loss can be told, which may be the next event.
			r.lease = op.lease
			r.lease.begin(event.Lease)
			e.leases[event.Tag] = r.lease
		}
		if op != nil {
			op.done <- r
		}
	case capi.EventLost:
		if lease := e.leases[event.Tag]; lease != nil {
			delete(e.leases, event.Tag)
			lost = lease
		}
	}
}

// fail ends everything that is pending: from now on there are no events.
func (e *engine) fail(status int32) {
	e.tables.Lock()
	defer e.tables.Unlock()
	if e.ended == capi.OK {
		e.ended = status
	}
	for tag, op := range e.ops {
		op.done <- result{Event: capi.Event{Status: status}}
		delete(e.ops, tag)
	}
}

// submit begins an operation. alone says that it is one of few, so that it had better be sent at once.
func (e *engine) submit(op, resource string, lease *leaseState, begin func(tag uint64, alone bool) (int32, *capi.Failure)) (*operation, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.freed {
		return nil, newError(op, resource, capi.Closed, nil)
	}
	o := &operation{done: make(chan result, 1), lease: lease}
	e.tables.Lock()
	if e.ended != capi.OK {
		e.tables.Unlock()
		return nil, newError(op, resource, e.ended, nil)
	}
	e.tag++
	o.tag = e.tag
	e.ops[o.tag] = o
	alone := len(e.ops) <= sendAtOnce
	e.tables.Unlock()
	if lease != nil {
		lease.tag = o.tag
	}
	if status, failure := begin(o.tag, alone); status != capi.OK {
		e.forget(o)
		return nil, newError(op, resource, status, failure)
	}
	return o, nil
}

func (e *engine) forget(o *operation) {
	e.tables.Lock()
	delete(e.ops, o.tag)
	e.tables.Unlock()
}

// wait waits for the end of an operation; a context that is over cancels it. The operation has ended in any case.
func (e *engine) wait(ctx context.Context, o *operation) result {
	select {
	case r := <-o.done:
		return r
	case <-ctx.Done():
	}
	e.mu.RLock()
	if !e.freed {
		e.handle.Cancel(o.tag)
	}
	e.mu.RUnlock()
	return <-o.done
}

// close ends the handle, once.
func (e *engine) close(release bool, timeoutMs int64) (status int32, failure *capi.Failure) {
	e.closing.Lock()
	defer e.closing.Unlock()
	e.mu.RLock()
	if e.freed {
		e.mu.RUnlock()
		return capi.OK, nil
	}
	status, failure = e.handle.Close(release, timeoutMs)
	e.mu.RUnlock()
	// Everybody's end is queued now; the goroutine may be past its last turn.
	e.drain(new(capi.Batch))
	e.fail(capi.Closed)
	e.file.Close()
	<-e.stopped
	e.mu.Lock()
	if !e.freed {
		e.freed = true
		e.handle.Free()
	}
	e.mu.Unlock()
	e.tables.Lock()
	leases := e.leases
	e.leases = map[uint64]*leaseState{}
	e.tables.Unlock()
	for _, lease := range leases {
		lease.end(ErrClosed)
	}
	return status, failure
}
