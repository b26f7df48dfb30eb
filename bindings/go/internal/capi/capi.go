//go:build cgo && linux

// Package capi is redlock.h for Go: the only package of the module that contains C. No function here waits, except
// [Handle.WaitReady] and [Handle.Close]. C never keeps a pointer into Go's memory and never calls back.
package capi

/*
#include <stdlib.h>
#include "glue.h"
*/
import "C"

import "unsafe"

// Statuses.
const (
	OK           = C.REDLOCK_OK
	NotAcquired  = C.REDLOCK_E_NOT_ACQUIRED
	NoQuorum     = C.REDLOCK_E_NO_QUORUM
	Lost         = C.REDLOCK_E_LOST
	Cancelled    = C.REDLOCK_E_CANCELLED
	Interrupted  = C.REDLOCK_E_INTERRUPTED
	Invalid      = C.REDLOCK_E_INVALID
	Config       = C.REDLOCK_E_CONFIG
	Forked       = C.REDLOCK_E_FORKED
	Unknown      = C.REDLOCK_E_UNKNOWN
	Closed       = C.REDLOCK_E_CLOSED
	Internal     = C.REDLOCK_E_INTERNAL
	EventDone    = C.REDLOCK_EVENT_DONE
	EventLost    = C.REDLOCK_EVENT_LEASE_LOST
	HeaderNumber = C.REDLOCK_VERSION_NUMBER
	HandleRetry  = C.REDLOCK_RETRIES_OF_HANDLE
)

type (
	// Handle is a redlock_t.
	Handle struct{ p *C.redlock_t }
	// Lease is a redlock_lease_t.
	Lease struct{ p *C.redlock_lease_t }
	// Canceller is a redlock_canceller_t.
	Canceller struct{ p *C.redlock_canceller_t }
	// Options is a redlock_options_t.
	Options struct{ p *C.redlock_options_t }
)

// Node is what one node contributed to a failure or an inspection.
type Node struct {
	URL         string
	Outcome     int32
	Text, Token string
	ElapsedMs   uint64
	RemainingMs int64
}

// Failure is a redlock_error_t, copied.
type Failure struct {
	Status  int32
	Message string
	Nodes   []Node
}

// Inspection is a redlock_inspection_t, copied.
type Inspection struct {
	Held        bool
	Token       string
	RemainingMs int64
	NodesHeld   int
	Nodes       []Node
}

// Event is what happened on a handle.
type Event struct {
	Tag          uint64
	Kind, Status int32
	Lease        Lease
	Failure      *Failure
	Inspection   *Inspection
}

// Request describes a lock.
type Request struct {
	Resource, Token              string
	Tag, TTLMs, MaxHoldMs        uint64
	WaitMs, Retries              int64
	Fence, AutoExtend            bool
	Watch, ReportRemaining, Send bool
}

func flag(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}

func bytes(s string) (unsafe.Pointer, C.size_t) {
	return unsafe.Pointer(unsafe.StringData(s)), C.size_t(len(s))
}

// VersionNumber of the library that the program runs with.
func VersionNumber() uint32 { return uint32(C.redlock_version_number()) }

// Version of the library that the program runs with.
func Version() string { return C.GoString(C.redlock_version()) }

// StatusText is an English phrase for a status.
func StatusText(status int32) string {
	return C.GoString(C.redlock_status_text(C.redlock_status_t(status)))
}

// OutcomeText is an English phrase for the outcome of a node.
func OutcomeText(outcome int32) string {
	return C.GoString(C.redlock_node_outcome_text(C.int32_t(outcome)))
}

// NewOptions returns options for a runtime with signals of its own.
func NewOptions() Options {
	o := Options{C.redlock_options_new()}
	C.redlock_options_set_interruptible(o.p, 0)
	return o
}

// Free frees options.
func (o Options) Free() { C.redlock_options_free(o.p) }

// SetString sets one of the texts.
func (o Options) SetString(name, value string) int32 {
	v := C.CString(value)
	defer C.free(unsafe.Pointer(v))
	switch name {
	case "key_prefix":
		p, n := bytes(value)
		return int32(C.redlock_options_set_key_prefix_bytes(o.p, p, n))
	case "tls_ca_file":
		return int32(C.redlock_options_set_tls_ca_file(o.p, v))
	case "tls_cert_file":
		return int32(C.redlock_options_set_tls_cert_file(o.p, v))
	case "tls_key_file":
		return int32(C.redlock_options_set_tls_key_file(o.p, v))
	case "username":
		return int32(C.redlock_options_set_username(o.p, v))
	case "password":
		return int32(C.redlock_options_set_password(o.p, v))
	case "client_name":
		return int32(C.redlock_options_set_client_name(o.p, v))
	}
	return Invalid
}

// SetNumber sets one of the numbers.
func (o Options) SetNumber(name string, value int64) int32 {
	switch name {
	case "retry_count":
		return int32(C.redlock_options_set_retry_count(o.p, C.int64_t(value)))
	case "protocol":
		return int32(C.redlock_options_set_protocol(o.p, C.int32_t(value)))
	case "restart_guard":
		return int32(C.redlock_options_set_restart_guard(o.p, C.int32_t(value)))
	}
	if value < 0 {
		return Invalid
	}
	switch name {
	case "node_timeout_ms":
		return int32(C.redlock_options_set_node_timeout_ms(o.p, C.uint64_t(value)))
	case "stall_timeout_ms":
		return int32(C.redlock_options_set_stall_timeout_ms(o.p, C.uint64_t(value)))
	case "connect_timeout_ms":
		return int32(C.redlock_options_set_connect_timeout_ms(o.p, C.uint64_t(value)))
	case "retry_delay_ms":
		return int32(C.redlock_options_set_retry_delay_ms(o.p, C.uint64_t(value)))
	case "retry_jitter_ms":
		return int32(C.redlock_options_set_retry_jitter_ms(o.p, C.uint64_t(value)))
	case "drift_ppm":
		return int32(C.redlock_options_set_drift_ppm(o.p, C.uint64_t(value)))
	case "max_ttl_ms":
		return int32(C.redlock_options_set_max_ttl_ms(o.p, C.uint64_t(value)))
	case "wake":
		return int32(C.redlock_options_set_wake(o.p, C.int32_t(value)))
	case "tls_insecure":
		return int32(C.redlock_options_set_tls_insecure(o.p, C.int32_t(value)))
	case "avoid_lua":
		return int32(C.redlock_options_set_avoid_lua(o.p, C.int32_t(value)))
	}
	return Invalid
}

// New makes a handle.
func New(urls []string, options Options) (Handle, int32, *Failure) {
	list := (*[1 << 16]*C.char)(C.calloc(C.size_t(len(urls)+1), C.size_t(unsafe.Sizeof(uintptr(0)))))
	for i, url := range urls {
		list[i] = C.CString(url)
		defer C.free(unsafe.Pointer(list[i]))
	}
	defer C.free(unsafe.Pointer(list))
	var h Handle
	var failure *C.redlock_error_t
	status := C.redlock_new(&list[0], C.size_t(len(urls)), options.p, &h.p, &failure)
	return h, int32(status), take(failure)
}

// Close closes the handle and waits at most timeoutMs for releases.
func (h Handle) Close(release bool, timeoutMs int64) (int32, *Failure) {
	var failure *C.redlock_error_t
	status := C.redlock_close(h.p, flag(release), C.int64_t(timeoutMs), &failure)
	return int32(status), take(failure)
}

// Free frees the handle.
func (h Handle) Free() { C.redlock_free(h.p) }

// Fd is the descriptor to watch, or a negative status.
func (h Handle) Fd() int { return int(C.redlock_fd(h.p)) }

// WaitReady waits until a quorum of nodes is ready.
func (h Handle) WaitReady(canceller Canceller) (int32, *Failure) {
	var failure *C.redlock_error_t
	status := C.redlock_wait_ready_cancellable(h.p, -1, canceller.p, &failure)
	return int32(status), take(failure)
}

// NewCanceller returns a canceller.
func NewCanceller() Canceller { return Canceller{C.redlock_canceller_new()} }

// Cancel ends what carries the canceller, now and later.
func (c Canceller) Cancel() { C.redlock_canceller_cancel(c.p) }

// Free frees the canceller.
func (c Canceller) Free() { C.redlock_canceller_free(c.p) }

// Cancel ends the operations with this tag.
func (h Handle) Cancel(tag uint64) { C.redlock_cancel(h.p, C.uint64_t(tag)) }

// Batch is room for the events that one call fetches.
type Batch [C.GLUE_BATCH]C.glue_event_t

// Process does what is due, fetches events and hands each to f. More is true when there may be more events.
func (h Handle) Process(batch *Batch, f func(Event)) (more bool, status int32) {
	var n C.size_t
	status = int32(C.glue_process(h.p, 1, &batch[0], &n))
	for i := range batch[:n] {
		e := &batch[i]
		event := Event{Tag: uint64(e.tag), Kind: int32(e.kind), Status: int32(e.status), Lease: Lease{e.lease}, Failure: take(e.error)}
		if e.inspection != nil {
			event.Inspection = takeInspection(e.inspection)
		}
		f(event)
	}
	return int(n) == len(batch), status
}

// SubmitLock submits a lock.
func (h Handle) SubmitLock(r *Request) (int32, *Failure) {
	g := C.glue_request_t{tag: C.uint64_t(r.Tag), ttl_ms: C.uint64_t(r.TTLMs), max_hold_ms: C.uint64_t(r.MaxHoldMs),
		wait_ms: C.int64_t(r.WaitMs), retries: C.int64_t(r.Retries), fence: flag(r.Fence), auto_extend: flag(r.AutoExtend),
		watch: flag(r.Watch), report_remaining: flag(r.ReportRemaining)}
	resource, resourceLen := bytes(r.Resource)
	token, tokenLen := bytes(r.Token)
	var failure *C.redlock_error_t
	status := C.glue_submit_lock(h.p, resource, resourceLen, token, tokenLen, &g, flag(r.Send), &failure)
	return int32(status), take(failure)
}

// SubmitUnlockToken submits a release by token.
func (h Handle) SubmitUnlockToken(resource, token string, tag uint64) (int32, *Failure) {
	r, rn := bytes(resource)
	t, tn := bytes(token)
	var failure *C.redlock_error_t
	status := C.redlock_submit_unlock_token_bytes(h.p, r, rn, t, tn, C.uint64_t(tag), &failure)
	return int32(status), take(failure)
}

// SubmitExtendToken submits an extension by token.
func (h Handle) SubmitExtendToken(resource, token string, ttlMs, tag uint64) (int32, *Failure) {
	r, rn := bytes(resource)
	t, tn := bytes(token)
	var failure *C.redlock_error_t
	status := C.redlock_submit_extend_token_bytes(h.p, r, rn, t, tn, C.uint64_t(ttlMs), C.uint64_t(tag), &failure)
	return int32(status), take(failure)
}

// SubmitInspect submits an inspection.
func (h Handle) SubmitInspect(resource string, tag uint64) (int32, *Failure) {
	r, rn := bytes(resource)
	var failure *C.redlock_error_t
	status := C.redlock_submit_inspect_bytes(h.p, r, rn, C.uint64_t(tag), &failure)
	return int32(status), take(failure)
}

// Valid says whether there is a lease.
func (l Lease) Valid() bool { return l.p != nil }

// SubmitUnlock submits the release of the lease.
func (l Lease) SubmitUnlock(h Handle, tag uint64, send bool) (int32, *Failure) {
	var failure *C.redlock_error_t
	status := C.glue_submit_unlock(h.p, l.p, C.uint64_t(tag), flag(send), &failure)
	return int32(status), take(failure)
}

// SubmitExtend submits an extension.
func (l Lease) SubmitExtend(ttlMs, tag uint64) (int32, *Failure) {
	var failure *C.redlock_error_t
	status := C.redlock_submit_extend(l.p, C.uint64_t(ttlMs), C.uint64_t(tag), &failure)
	return int32(status), take(failure)
}

// UnlockNowait releases and does not wait.
func (l Lease) UnlockNowait() { C.redlock_unlock_nowait(l.p) }

// Free frees the lease and tells no server.
func (l Lease) Free() { C.redlock_lease_free(l.p) }

// Token of the lease.
func (l Lease) Token() string {
	var n C.size_t
	p := C.redlock_lease_token(l.p, &n)
	return C.GoStringN(p, C.int(n))
}

// Fence of the lease.
func (l Lease) Fence() uint64 { return uint64(C.redlock_lease_fence(l.p)) }

// RemainingMs of the lease.
func (l Lease) RemainingMs() int64 { return int64(C.redlock_lease_remaining_ms(l.p)) }

func take(failure *C.redlock_error_t) *Failure {
	if failure == nil {
		return nil
	}
	defer C.redlock_error_free(failure)
	f := &Failure{Status: int32(C.redlock_error_code(failure)), Message: C.GoString(C.redlock_error_message(failure))}
	count := C.redlock_error_node_count(failure)
	for i := C.size_t(0); i < count; i++ {
		f.Nodes = append(f.Nodes, Node{
			URL:         C.GoString(C.redlock_error_node_url(failure, i)),
			Outcome:     int32(C.redlock_error_node_outcome(failure, i)),
			Text:        C.GoString(C.redlock_error_node_text(failure, i)),
			ElapsedMs:   uint64(C.redlock_error_node_elapsed_ms(failure, i)),
			RemainingMs: int64(C.redlock_error_node_remaining_ms(failure, i)),
		})
	}
	return f
}

func takeInspection(p *C.redlock_inspection_t) *Inspection {
	defer C.redlock_inspection_free(p)
	var n C.size_t
	in := &Inspection{Held: C.redlock_inspection_is_held(p) == 1, RemainingMs: int64(C.redlock_inspection_remaining_ms(p)),
		NodesHeld: int(C.redlock_inspection_node_count_held(p))}
	if token := C.redlock_inspection_token(p, &n); token != nil {
		in.Token = C.GoStringN(token, C.int(n))
	}
	count := C.redlock_inspection_node_count(p)
	for i := C.size_t(0); i < count; i++ {
		node := Node{
			URL:         C.GoString(C.redlock_inspection_node_url(p, i)),
			Outcome:     int32(C.redlock_inspection_node_outcome(p, i)),
			Text:        C.GoString(C.redlock_inspection_node_text(p, i)),
			RemainingMs: int64(C.redlock_inspection_node_remaining_ms(p, i)),
		}
		if token := C.redlock_inspection_node_token(p, i, &n); token != nil {
			node.Token = C.GoStringN(token, C.int(n))
		}
		in.Nodes = append(in.Nodes, node)
	}
	return in
}
