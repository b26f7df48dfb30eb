//go:build cgo && linux

package capi

/*
#include "glue.h"
*/
import "C"

import "time"

// Stats are the counters of a handle at one moment.
type Stats struct {
	// Attempts are rounds of SET sent to the nodes, Contended those that failed because of another holder.
	Attempts, Acquired, Contended uint64
	// NoQuorum counts operations that too few nodes answered, Lost leases that were over before their release.
	NoQuorum, Released, Extended, Lost uint64
	// AcquireTime is the time from call to lock, summed over the locks acquired.
	AcquireTime time.Duration
	Nodes       []NodeStats
}

// NodeStats are the counters of one node.
type NodeStats struct {
	URL string
	Up  bool
	// Note says in English why the node does not vote or what is wrong with it; "" where all is well.
	Note                                            string
	Requests, Replies, Timeouts, Errors, Reconnects uint64
	// Latency is the time from request to reply, summed over the replies.
	Latency time.Duration
	// PendingReleases are releases that the node has not confirmed yet.
	PendingReleases uint64
}

// Stats copies the counters.
func (h Handle) Stats() (Stats, int32, *Failure) {
	var p *C.redlock_stats_t
	var failure *C.redlock_error_t
	if status := C.redlock_stats(h.p, &p, &failure); status != OK {
		return Stats{}, int32(status), take(failure)
	}
	defer C.redlock_stats_free(p)
	s := Stats{
		Attempts: uint64(C.redlock_stats_attempts(p)), Acquired: uint64(C.redlock_stats_acquired(p)),
		Contended: uint64(C.redlock_stats_contended(p)), NoQuorum: uint64(C.redlock_stats_no_quorum(p)),
		Released: uint64(C.redlock_stats_released(p)), Extended: uint64(C.redlock_stats_extended(p)),
		Lost: uint64(C.redlock_stats_lost(p)), AcquireTime: time.Duration(C.redlock_stats_acquire_ns_sum(p)),
	}
	count := C.redlock_stats_node_count(p)
	for i := C.size_t(0); i < count; i++ {
		s.Nodes = append(s.Nodes, NodeStats{
			URL: C.GoString(C.redlock_stats_node_url(p, i)), Up: C.redlock_stats_node_is_up(p, i) == 1,
			Note: C.GoString(C.redlock_stats_node_note(p, i)), Requests: uint64(C.redlock_stats_node_requests(p, i)),
			Replies: uint64(C.redlock_stats_node_replies(p, i)), Timeouts: uint64(C.redlock_stats_node_timeouts(p, i)),
			Errors: uint64(C.redlock_stats_node_errors(p, i)), Reconnects: uint64(C.redlock_stats_node_reconnects(p, i)),
			Latency:         time.Duration(C.redlock_stats_node_latency_ns_sum(p, i)),
			PendingReleases: uint64(C.redlock_stats_node_pending_releases(p, i)),
		})
	}
	return s, OK, nil
}
