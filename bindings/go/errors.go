package redlock

import (
	"context"
	"errors"
	"time"

	"github.com/libredlock/libredlock/bindings/go/internal/capi"
)

// Why a call failed, for [errors.Is].
var (
	// ErrNotAcquired: somebody else holds the lock, or it was granted too late to be of use.
	ErrNotAcquired error = code(capi.NotAcquired)
	// ErrNoQuorum: so many nodes failed or timed out that the others are no quorum.
	ErrNoQuorum error = code(capi.NoQuorum)
	// ErrLost: the lease is over: expired, deleted, or never this token's. It is the cause of a cancelled
	// [Lease.Context], too. Stop the work that the lock protected.
	ErrLost error = code(capi.Lost)
	// ErrCanceled: the context ended the call. The same error is [context.Canceled] or [context.DeadlineExceeded].
	ErrCanceled error = code(capi.Cancelled)
	// ErrInvalid: an argument is out of its range.
	ErrInvalid error = code(capi.Invalid)
	// ErrConfig: something that only a person can cure: a malformed URL, a wrong password, missing rights.
	ErrConfig error = code(capi.Config)
	// ErrUnknown: the request may or may not have been applied.
	ErrUnknown error = code(capi.Unknown)
	// ErrClosed: the client was closed.
	ErrClosed error = code(capi.Closed)
	// ErrInternal: a defect in the library. The client answers this to everything from now on.
	ErrInternal error = code(capi.Internal)
	// ErrReleased: the cause of a [Lease.Context] that [Lease.Unlock] ended.
	ErrReleased = errors.New("redlock: released")
	// ErrVersion: the library is older than the header that the program was built with.
	ErrVersion = errors.New("redlock: the library is too old")
)

type code int32

func (c code) Error() string { return "redlock: " + capi.StatusText(int32(c)) }

// Error tells why a call failed, with what each node contributed. For [errors.As].
type Error struct {
	// Op is what was attempted: "lock", "unlock", "extend", "inspect", "ready", "close" or "new".
	Op string
	// Resource is the name that the call was given, if any.
	Resource string
	// Message is one line for people. Nodes are counted from 1 in it.
	Message string
	// Nodes are all nodes of the client in their order; none where none was asked.
	Nodes  []NodeError
	status code
	cause  error
}

// NodeError is what one node contributed to a failure.
type NodeError struct {
	// URL without user name and password.
	URL string
	// Outcome is what it did, such as OutcomeHeld.
	Outcome Outcome
	// Text is what the server or the system said, else the text of the outcome.
	Text string
	// Elapsed is the time from request to outcome.
	Elapsed time.Duration
	// Remaining is how long the key of the other holder still lives; -1 where that is not known
	// ([WithReportRemaining]).
	Remaining time.Duration
}

// Outcome is what one node contributed. New ones may be added.
type Outcome int32

// The outcomes.
const (
	OutcomeDone        Outcome = 0 // it did what was asked
	OutcomeHeld        Outcome = 1 // another token holds the key there
	OutcomeNotMine     Outcome = 2 // the key is absent there or another's
	OutcomeNotAwaited  Outcome = 3 // all was decided before this node answered
	OutcomeGuarded     Outcome = 4 // it restarted so recently that its vote does not count yet
	OutcomeRefused     Outcome = 5 // an error that time may cure
	OutcomePermanent   Outcome = 6 // an error that only a person can cure
	OutcomeTimeout     Outcome = 7 // no answer within the node timeout
	OutcomeUnreachable Outcome = 8 // no connection
	OutcomeProtocol    Outcome = 9 // it does not speak the protocol of Redis
)

func (o Outcome) String() string { return capi.OutcomeText(int32(o)) }

func (e *Error) Error() string {
	text := "redlock: " + e.Op
	if e.Resource != "" {
		text += " " + e.Resource
	}
	if e.cause != nil {
		return text + ": " + e.cause.Error()
	}
	return text + ": " + e.Message
}

// Unwrap makes [errors.Is] know the sentinel, and the error and the cause of a context that ended the call.
func (e *Error) Unwrap() []error {
	if e.cause != nil {
		return []error{e.status, e.cause}
	}
	return []error{e.status}
}

func newError(op, resource string, status int32, f *capi.Failure) error {
	e := &Error{Op: op, Resource: resource, status: code(status), Message: capi.StatusText(status)}
	if f != nil {
		e.Message = f.Message
		for _, n := range f.Nodes {
			remaining := time.Duration(-1)
			if n.RemainingMs >= 0 {
				remaining = time.Duration(n.RemainingMs) * time.Millisecond
			}
			e.Nodes = append(e.Nodes, NodeError{n.URL, Outcome(n.Outcome), n.Text, time.Duration(n.ElapsedMs) * time.Millisecond, remaining})
		}
	}
	return e
}

func contextError(ctx context.Context, op, resource string, f *capi.Failure) error {
	e := newError(op, resource, capi.Cancelled, f).(*Error)
	e.cause = ctx.Err()
	if cause := context.Cause(ctx); cause != e.cause {
		e.cause = errors.Join(e.cause, cause)
	}
	return e
}
