//! What C programs get wrong, or meet without a server: NULL, numbers out of range, a node that is not there.
//! Whether locks work is the business of the tests in `tests/`.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, null, null_mut};

use super::*;

/// Nothing listens on port 1.
const NOWHERE: &CStr = c"redis://user:hunter2@127.0.0.1:1";

fn handle() -> *mut redlock_t {
    let mut rl = null_mut();
    let urls = [NOWHERE.as_ptr()];
    // SAFETY: one string, and places that live.
    let status = unsafe { redlock_new(urls.as_ptr(), 1, null(), &raw mut rl, null_mut()) };
    assert_eq!(status, REDLOCK_OK);
    rl
}

fn text(pointer: *const c_char) -> String {
    assert!(!pointer.is_null());
    // SAFETY: the getters return strings that live as long as their object.
    unsafe { CStr::from_ptr(pointer) }.to_str().expect("UTF-8").to_owned()
}

/// The message of an error, which is freed.
fn message(error: *mut redlock_error_t) -> String {
    // SAFETY: a live error object, used up here.
    unsafe {
        let message = text(redlock_error_message(error));
        redlock_error_free(error);
        message
    }
}

#[test]
fn freeing_null_does_nothing() {
    // SAFETY: NULL is allowed.
    unsafe {
        redlock_free(null_mut());
        redlock_lease_free(null_mut());
        redlock_request_free(null_mut());
        redlock_options_free(null_mut());
        redlock_error_free(null_mut());
        redlock_inspection_free(null_mut());
        redlock_stats_free(null_mut());
    }
}

#[test]
fn getters_answer_null_with_their_neutral_values() {
    let mut length = 77;
    // SAFETY: NULL is allowed.
    unsafe {
        assert_eq!(redlock_node_count(null()), 0);
        assert!(redlock_node_url(null(), 0).is_null());
        assert!(redlock_lease_token(null(), &raw mut length).is_null());
        assert!(redlock_lease_resource(null(), &raw mut length).is_null());
        assert_eq!(redlock_lease_remaining_ms(null()), 0);
        assert_eq!(redlock_lease_valid_until_ns(null()), 0);
        assert_eq!(redlock_lease_state(null()), 0);
        assert_eq!(redlock_lease_node_count_held(null()), 0);
        assert_eq!(redlock_error_code(null()), REDLOCK_OK);
        assert_eq!(text(redlock_error_message(null())), "");
        assert_eq!(redlock_error_node_count(null()), 0);
        assert!(redlock_error_node_url(null(), 0).is_null());
        assert_eq!(redlock_error_node_outcome(null(), 0), REDLOCK_NODE_NONE);
        assert!(redlock_error_node_text(null(), 0).is_null());
        assert_eq!(redlock_error_node_elapsed_ms(null(), 0), 0);
        assert_eq!(redlock_error_node_remaining_ms(null(), 0), -1);
        assert_eq!(redlock_inspection_is_held(null()), 0);
        assert!(redlock_inspection_token(null(), &raw mut length).is_null());
        assert_eq!(redlock_inspection_remaining_ms(null()), 0);
        assert_eq!(redlock_inspection_node_count_held(null()), 0);
        assert_eq!(redlock_inspection_node_count(null()), 0);
        assert!(redlock_inspection_node_url(null(), 0).is_null());
        assert_eq!(redlock_inspection_node_outcome(null(), 0), REDLOCK_NODE_NONE);
        assert!(redlock_inspection_node_text(null(), 0).is_null());
        assert!(redlock_inspection_node_token(null(), 0, &raw mut length).is_null());
        assert_eq!(redlock_inspection_node_remaining_ms(null(), 0), 0);
        assert_eq!(redlock_stats_acquired(null()), 0);
        assert_eq!(redlock_stats_node_count(null()), 0);
        assert!(redlock_stats_node_url(null(), 0).is_null());
        assert_eq!(redlock_stats_node_is_up(null(), 0), 0);
        assert_eq!(redlock_stats_node_requests(null(), 0), 0);
    }
    assert_eq!(length, 77, "outputs of a getter without an object are untouched");
}

#[test]
fn calls_without_their_handle_or_lease_are_invalid_and_say_which() {
    let mut error = null_mut();
    let mut lease = ptr::dangling_mut();
    // SAFETY: NULL is allowed for everything that is checked here; the other pointers live.
    unsafe {
        let wanted = &raw mut error;
        assert_eq!(redlock_lock(null(), c"r".as_ptr(), 1, 0, &raw mut lease, wanted), REDLOCK_E_INVALID);
        assert_eq!(lease, ptr::dangling_mut(), "outputs are untouched on failure");
        assert_eq!(message(error), "invalid argument: rl is NULL");
        assert_eq!(redlock_unlock(null(), wanted), REDLOCK_E_INVALID);
        assert_eq!(message(error), "invalid argument: lease is NULL");
        assert_eq!(redlock_extend(null(), 1, null_mut()), REDLOCK_E_INVALID);
        assert_eq!(redlock_wait_ready(null(), 0, null_mut()), REDLOCK_E_INVALID);
        assert_eq!(redlock_cancel(null(), 1), REDLOCK_E_INVALID);
        assert_eq!(redlock_stats(null(), null_mut(), null_mut()), REDLOCK_E_INVALID);
        assert_eq!(redlock_inspect(null(), c"r".as_ptr(), null_mut(), null_mut()), REDLOCK_E_INVALID);
        assert_eq!(redlock_unlock_token(null(), c"r".as_ptr(), c"t".as_ptr(), null_mut()), REDLOCK_E_INVALID);
        assert_eq!(redlock_extend_token(null(), c"r".as_ptr(), c"t".as_ptr(), 1, null_mut()), REDLOCK_E_INVALID);
    }
}

#[test]
fn arguments_that_are_missing_or_out_of_range_are_invalid_and_say_which() {
    let rl = handle();
    let mut error = null_mut();
    let mut lease = null_mut();
    let bytes = b"r".as_ptr().cast();
    // SAFETY: NULL is allowed for everything that is checked here; the other pointers live.
    unsafe {
        let wanted = &raw mut error;
        assert_eq!(redlock_lock(rl, null(), 1, 0, &raw mut lease, wanted), REDLOCK_E_INVALID);
        assert_eq!(message(error), "invalid argument: resource is NULL");
        assert_eq!(redlock_lock(rl, c"r".as_ptr(), 1, 0, null_mut(), wanted), REDLOCK_E_INVALID);
        assert_eq!(message(error), "invalid argument: lease is NULL");
        assert_eq!(redlock_lock_request(rl, null(), &raw mut lease, wanted), REDLOCK_E_INVALID);
        assert_eq!(message(error), "invalid argument: request is NULL");
        assert_eq!(redlock_unlock_token(rl, c"r".as_ptr(), null(), wanted), REDLOCK_E_INVALID);
        assert_eq!(message(error), "invalid argument: token is NULL");
        assert_eq!(redlock_unlock_token_bytes(rl, bytes, 1, null(), 3, wanted), REDLOCK_E_INVALID);
        assert_eq!(message(error), "invalid argument: token is NULL");
        assert_eq!(redlock_inspect_bytes(rl, bytes, usize::MAX, null_mut(), wanted), REDLOCK_E_INVALID);
        assert!(message(error).contains("resource cannot have"));
        assert_eq!(redlock_inspect(rl, c"r".as_ptr(), null_mut(), wanted), REDLOCK_E_INVALID);
        assert_eq!(message(error), "invalid argument: out is NULL");
        assert_eq!(redlock_wait_ready(rl, -2, wanted), REDLOCK_E_INVALID);
        assert_eq!(message(error), "invalid argument: timeout_ms is -2; it must be -1 or more");
        assert_eq!(redlock_cancel(rl, 0), REDLOCK_E_INVALID);
        redlock_free(rl);
    }
    assert!(lease.is_null());
}

#[test]
fn a_list_of_urls_that_cannot_be_right_is_refused_before_it_is_read() {
    let mut rl = null_mut();
    let mut error = null_mut();
    let one = [NOWHERE.as_ptr(), null()];
    let not_utf8 = [c"redis://\xff".as_ptr()];
    let cases = [
        (null(), 0, "0 URLs; a handle has 1 to 15 nodes"),
        (one.as_ptr(), 0, "0 URLs; a handle has 1 to 15 nodes"),
        (one.as_ptr(), usize::MAX, "18446744073709551615 URLs; a handle has 1 to 15 nodes"),
        (null(), 3, "urls is NULL"),
        (one.as_ptr(), 2, "urls[1] is NULL"),
        (not_utf8.as_ptr(), 1, "urls[0] is not UTF-8"),
    ];
    for (urls, count, detail) in cases {
        // SAFETY: as many strings as are said, or a count that is refused.
        let status = unsafe { redlock_new(urls, count, null(), &raw mut rl, &raw mut error) };
        assert_eq!(status, REDLOCK_E_INVALID, "{detail}");
        assert_eq!(message(error), format!("invalid argument: {detail}"));
        assert!(rl.is_null());
    }
    // SAFETY: one string.
    let status = unsafe { redlock_new(one.as_ptr(), 1, null(), null_mut(), null_mut()) };
    assert_eq!(status, REDLOCK_E_INVALID, "nowhere to put the handle");
}

#[test]
fn a_failed_lock_tells_of_each_node_and_leaves_the_lease_alone() {
    let rl = handle();
    let mut error = null_mut();
    let mut lease = ptr::dangling_mut();
    // SAFETY: live objects, freed at the end.
    unsafe {
        let status = redlock_lock(rl, c"r".as_ptr(), 1_000, 0, &raw mut lease, &raw mut error);
        assert_eq!(status, REDLOCK_E_NO_QUORUM);
        assert_eq!(lease, ptr::dangling_mut());
        assert_eq!(redlock_error_code(error), status);
        assert!(text(redlock_error_message(error)).starts_with("no quorum: "));
        assert_eq!(redlock_error_node_count(error), 1);
        assert_eq!(redlock_error_node_outcome(error, 0), REDLOCK_NODE_UNREACHABLE);
        assert!(!text(redlock_error_node_text(error, 0)).is_empty());
        assert_eq!(redlock_error_node_remaining_ms(error, 0), -1);
        assert_eq!(redlock_error_node_outcome(error, 1), REDLOCK_NODE_NONE);
        assert!(redlock_error_node_url(error, 1).is_null());
        redlock_free(rl);
        assert!(text(redlock_error_node_url(error, 0)).contains("127.0.0.1:1"), "it outlives the handle");
        redlock_error_free(error);
    }
}

#[test]
fn the_error_is_untouched_on_success() {
    let rl = handle();
    let mut error = ptr::dangling_mut();
    let mut stats = null_mut();
    // SAFETY: live objects, freed at the end.
    unsafe {
        assert_eq!(redlock_stats(rl, &raw mut stats, &raw mut error), REDLOCK_OK);
        assert_eq!(error, ptr::dangling_mut());
        redlock_free(rl);
        assert_eq!(redlock_stats_node_count(stats), 1, "it outlives the handle");
        assert!(!redlock_stats_node_url(stats, 0).is_null());
        assert!(redlock_stats_node_url(stats, 1).is_null());
        assert_eq!(redlock_stats_node_requests(stats, 14), 0);
        assert_eq!(redlock_stats_node_requests(stats, usize::MAX), 0);
        redlock_stats_free(stats);
    }
}

#[test]
fn numbers_of_options_are_checked_when_they_are_set() {
    let options = redlock_options_new();
    let max = u64::MAX;
    // SAFETY: live options, freed at the end.
    unsafe {
        assert_eq!(redlock_options_set_node_timeout_ms(null_mut(), 100), REDLOCK_E_INVALID);
        for (set, good) in [
            (redlock_options_set_node_timeout_ms as unsafe extern "C" fn(_, _) -> _, 100),
            (redlock_options_set_stall_timeout_ms, 2_000),
            (redlock_options_set_connect_timeout_ms, 500),
            (redlock_options_set_retry_delay_ms, 200),
            (redlock_options_set_retry_jitter_ms, 100),
            (redlock_options_set_drift_ppm, 10_000),
            (redlock_options_set_max_ttl_ms, 60_000),
        ] {
            assert_eq!(set(options, good), REDLOCK_OK);
            let before = format!("{:?}", (*options).engine);
            assert_eq!(set(options, max), REDLOCK_E_INVALID);
            assert_eq!(format!("{:?}", (*options).engine), before, "a refused value changes nothing");
        }
        for set in [
            redlock_options_set_wake as unsafe extern "C" fn(_, _) -> _,
            redlock_options_set_interruptible,
            redlock_options_set_tls_insecure,
            redlock_options_set_avoid_lua,
        ] {
            let statuses = [0, 1, 2, -1, i32::MIN].map(|value| set(options, value));
            assert_eq!(statuses, [0, 0, REDLOCK_E_INVALID, REDLOCK_E_INVALID, REDLOCK_E_INVALID]);
        }
        let protocols = [0, 2, 3, 1, 4, -1].map(|value| redlock_options_set_protocol(options, value));
        assert_eq!(protocols, [0, 0, 0, REDLOCK_E_INVALID, REDLOCK_E_INVALID, REDLOCK_E_INVALID]);
        let guards = [0, 1, 2, 3, -1].map(|value| redlock_options_set_restart_guard(options, value));
        assert_eq!(guards, [0, 0, 0, REDLOCK_E_INVALID, REDLOCK_E_INVALID]);
        let retries = [0, i64::MAX, -1, -2, i64::MIN].map(|value| redlock_options_set_retry_count(options, value));
        assert_eq!(retries, [0, 0, 0, REDLOCK_E_INVALID, REDLOCK_E_INVALID]);
        assert_eq!((*options).engine.retry_count, None);
        assert_eq!(redlock_options_set_spin_us(options, 0), REDLOCK_OK);
        assert_eq!(redlock_options_set_spin_us(options, u32::MAX), REDLOCK_E_INVALID);
        assert_eq!(redlock_options_set_max_ttl_ms(options, 0), REDLOCK_OK);
        assert_eq!((*options).engine.max_ttl_ms, None);
        redlock_options_free(options);
    }
}

#[test]
fn texts_of_options_are_copied_and_null_unsets_them() {
    let options = redlock_options_new();
    let given = CString::new("/etc/ca.pem").expect("no NUL");
    // SAFETY: live options, freed at the end, and strings.
    unsafe {
        assert_eq!(redlock_options_set_tls_ca_file(options, given.as_ptr()), REDLOCK_OK);
        drop(given);
        assert_eq!((*options).engine.tls_ca_file.as_deref(), Some("/etc/ca.pem".as_ref()));
        assert_eq!(redlock_options_set_tls_ca_file(options, null()), REDLOCK_OK);
        assert_eq!((*options).engine.tls_ca_file, None);
        assert_eq!(redlock_options_set_username(options, c"me".as_ptr()), REDLOCK_OK);
        assert_eq!(redlock_options_set_username(options, c"\xff".as_ptr()), REDLOCK_E_INVALID);
        assert_eq!((*options).engine.username.as_deref(), Some("me"));
        assert_eq!(redlock_options_set_key_prefix(options, c"app:".as_ptr()), REDLOCK_OK);
        assert_eq!((*options).engine.key_prefix, b"app:");
        assert_eq!(redlock_options_set_key_prefix_bytes(options, b"a\0b".as_ptr().cast(), 3), REDLOCK_OK);
        assert_eq!((*options).engine.key_prefix, b"a\0b");
        assert_eq!(redlock_options_set_key_prefix_bytes(options, null(), 2), REDLOCK_E_INVALID);
        assert_eq!(redlock_options_set_key_prefix(options, null()), REDLOCK_OK);
        assert_eq!((*options).engine.key_prefix, b"");
        redlock_options_free(options);
    }
}

#[test]
fn requests_hold_what_was_set_and_refuse_what_makes_no_sense() {
    let request = redlock_request_new();
    // SAFETY: a live request, freed at the end, strings, and as many bytes as are said.
    unsafe {
        assert_eq!(redlock_request_set_tag(null_mut(), 7), REDLOCK_E_INVALID);
        assert_eq!(redlock_request_set_resource(request, null()), REDLOCK_E_INVALID);
        assert_eq!(redlock_request_set_resource_bytes(request, b"a\0b".as_ptr().cast(), 3), REDLOCK_OK);
        assert_eq!((*request).engine.resource, b"a\0b");
        assert_eq!(redlock_request_set_resource(request, c"orders/42".as_ptr()), REDLOCK_OK);
        assert_eq!((*request).engine.resource, b"orders/42");
        assert_eq!(redlock_request_set_ttl_ms(request, 0), REDLOCK_E_INVALID);
        assert_eq!(redlock_request_set_ttl_ms(request, 10_000), REDLOCK_OK);
        assert_eq!(redlock_request_set_wait_ms(request, -2), REDLOCK_E_INVALID);
        assert_eq!(redlock_request_set_wait_ms(request, -1), REDLOCK_OK);
        assert_eq!(redlock_request_set_retries(request, -3), REDLOCK_E_INVALID);
        for (retries, expected) in [(-1, Some(u64::MAX)), (-2, None), (0, Some(0)), (i64::MAX, Some(i64::MAX as u64))] {
            assert_eq!(redlock_request_set_retries(request, retries), REDLOCK_OK);
            assert_eq!((*request).engine.retries, expected);
        }
        assert_eq!(redlock_request_set_token(request, c"".as_ptr()), REDLOCK_E_INVALID);
        assert_eq!(redlock_request_set_token(request, c"mine".as_ptr()), REDLOCK_OK);
        assert_eq!(redlock_request_set_token_bytes(request, b"x".as_ptr().cast(), 0), REDLOCK_E_INVALID);
        assert_eq!((*request).engine.token.as_deref(), Some(&b"mine"[..]), "a refused value changes nothing");
        assert_eq!(redlock_request_set_token_bytes(request, null(), 0), REDLOCK_OK);
        assert_eq!((*request).engine.token, None);
        assert_eq!(redlock_request_set_tag(request, 7), REDLOCK_OK);
        assert_eq!(((*request).engine.ttl_ms, (*request).engine.wait_ms, (*request).engine.tag), (10_000, -1, 7));
        redlock_request_free(request);
    }
}

#[test]
fn a_request_without_a_resource_or_a_ttl_is_invalid() {
    let rl = handle();
    let request = redlock_request_new();
    let mut lease = null_mut();
    // SAFETY: live objects, freed at the end.
    unsafe {
        assert_eq!(redlock_request_set_ttl_ms(request, 1_000), REDLOCK_OK);
        assert_eq!(redlock_lock_request(rl, request, &raw mut lease, null_mut()), REDLOCK_E_INVALID);
        redlock_request_free(request);
        let request = redlock_request_new();
        assert_eq!(redlock_request_set_resource(request, c"r".as_ptr()), REDLOCK_OK);
        assert_eq!(redlock_lock_request(rl, request, &raw mut lease, null_mut()), REDLOCK_E_INVALID);
        redlock_request_free(request);
        redlock_free(rl);
    }
    assert!(lease.is_null());
}

#[test]
fn a_handle_with_a_defect_answers_internal_to_everything_and_can_be_freed() {
    let rl = handle();
    let mut error = null_mut();
    // SAFETY: a live handle, freed at the end; NULL is allowed or not reached.
    unsafe {
        let shared = &*rl;
        let defect = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _inside = shared.enter();
            panic!("a defect made for this test");
        }));
        assert!(defect.is_err());
        let mut lease = null_mut();
        let mut stats = null_mut();
        let mut inspect = null_mut();
        let (resource, token) = (c"r".as_ptr(), c"t".as_ptr());
        assert_eq!(redlock_lock(rl, resource, 1, 0, &raw mut lease, &raw mut error), REDLOCK_E_INTERNAL);
        assert_eq!(message(error), "internal error: a defect showed earlier in this handle");
        assert_eq!(redlock_wait_ready(rl, 0, null_mut()), REDLOCK_E_INTERNAL);
        assert_eq!(redlock_cancel(rl, 1), REDLOCK_E_INTERNAL);
        assert_eq!(redlock_stats(rl, &raw mut stats, null_mut()), REDLOCK_E_INTERNAL);
        assert_eq!(redlock_inspect(rl, resource, &raw mut inspect, null_mut()), REDLOCK_E_INTERNAL);
        assert_eq!(redlock_unlock_token(rl, resource, token, null_mut()), REDLOCK_E_INTERNAL);
        assert_eq!(redlock_extend_token(rl, resource, token, 1, null_mut()), REDLOCK_E_INTERNAL);
        assert_eq!(redlock_node_count(rl), 1);
        redlock_free(rl);
    }
}

#[test]
fn urls_of_a_handle_hide_the_password() {
    let rl = handle();
    // SAFETY: a live handle, freed at the end.
    unsafe {
        assert_eq!(redlock_node_count(rl), 1);
        let url = text(redlock_node_url(rl, 0));
        assert!(url.contains("127.0.0.1:1") && !url.contains("hunter2") && !url.contains("user"), "{url}");
        assert!(redlock_node_url(rl, 1).is_null());
        redlock_free(rl);
    }
}

#[test]
fn the_version_is_the_same_as_number_and_as_text() {
    let parts: Vec<u32> = env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().expect("a number")).collect();
    assert_eq!(redlock_version_number(), parts[0] * 1_000_000 + parts[1] * 1_000 + parts[2]);
    assert_eq!(text(redlock_version()), env!("CARGO_PKG_VERSION"));
}
