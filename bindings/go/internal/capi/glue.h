// What keeps the number of crossings from Go to C small. Everything here is static and calls only redlock.h.
#ifndef REDLOCK_GO_GLUE_H
#define REDLOCK_GO_GLUE_H

#if defined(__has_include)
#if !__has_include(<redlock.h>)
#error "redlock.h was not found. Install libredlock (make install) and let PKG_CONFIG_PATH name the folder of redlock.pc, or use the module of make dist-go with -tags redlock_static."
#endif
#endif
#include <redlock.h>

#if REDLOCK_VERSION_NUMBER < 1000
#error "this package needs libredlock 0.1.0 or newer"
#endif

// An event with all that Go asks of it. The pointers belong to whoever reads it.
typedef struct {
    uint64_t tag;
    int32_t kind;
    int32_t status;
    redlock_lease_t *lease;
    redlock_error_t *error;
    redlock_inspection_t *inspection;
} glue_event_t;

#define GLUE_BATCH 64

static redlock_status_t glue_process(const redlock_t *rl, int32_t process, glue_event_t *out, size_t *count)
{
    redlock_status_t status = process ? redlock_process(rl) : REDLOCK_OK;
    redlock_event_t *events[GLUE_BATCH];
    size_t n = redlock_next_events(rl, events, GLUE_BATCH);
    for (size_t i = 0; i < n; i++) {
        out[i].tag = redlock_event_tag(events[i]);
        out[i].kind = redlock_event_kind(events[i]);
        out[i].status = redlock_event_status(events[i]);
        out[i].lease = redlock_event_take_lease(events[i]);
        out[i].error = redlock_event_take_error(events[i]);
        out[i].inspection = redlock_event_take_inspection(events[i]);
        redlock_event_free(events[i]);
    }
    *count = n;
    return status;
}

// The numbers of a request, by value.
typedef struct {
    uint64_t tag;
    uint64_t ttl_ms;
    uint64_t max_hold_ms;
    int64_t wait_ms;
    int64_t retries;
    int32_t fence;
    int32_t auto_extend;
    int32_t watch;
    int32_t report_remaining;
} glue_request_t;

static redlock_status_t glue_submit_lock(const redlock_t *rl, const void *resource, size_t resource_len, const void *token,
                                         size_t token_len, const glue_request_t *g, int32_t process, redlock_error_t **error)
{
    redlock_request_t *request = redlock_request_new();
    redlock_status_t status = REDLOCK_OK;
#define GLUE_SET(call) do { if (status == REDLOCK_OK) status = (call); } while (0)
    GLUE_SET(redlock_request_set_resource_bytes(request, resource, resource_len));
    if (token_len > 0) GLUE_SET(redlock_request_set_token_bytes(request, token, token_len));
    GLUE_SET(redlock_request_set_ttl_ms(request, g->ttl_ms));
    GLUE_SET(redlock_request_set_wait_ms(request, g->wait_ms));
    GLUE_SET(redlock_request_set_retries(request, g->retries));
    GLUE_SET(redlock_request_set_fence(request, g->fence));
    GLUE_SET(redlock_request_set_tag(request, g->tag));
    GLUE_SET(redlock_request_set_auto_extend(request, g->auto_extend));
    GLUE_SET(redlock_request_set_max_hold_ms(request, g->max_hold_ms));
    GLUE_SET(redlock_request_set_watch(request, g->watch));
    GLUE_SET(redlock_request_set_report_remaining(request, g->report_remaining));
#undef GLUE_SET
    if (status == REDLOCK_OK) status = redlock_submit_lock(rl, request, error);
    redlock_request_free(request);
    // What was submitted is sent now instead of after a turn of the loop.
    if (status == REDLOCK_OK && process) redlock_process(rl);
    return status;
}

static redlock_status_t glue_submit_unlock(const redlock_t *rl, const redlock_lease_t *lease, uint64_t tag, int32_t process,
                                           redlock_error_t **error)
{
    redlock_status_t status = redlock_submit_unlock(lease, tag, error);
    if (status == REDLOCK_OK && process) redlock_process(rl);
    return status;
}

#endif
