# frozen_string_literal: true

require "ffi"
require_relative "version"

module Redlock
  module FFI
    # The C functions, as include/redlock.h declares them. Not part of the public interface.
    #
    # The library is looked for in REDLOCK_LIBRARY, then beside this file (platform gems carry it), then as
    # libredlock.so.0 where the dynamic linker looks.
    module C
      extend ::FFI::Library

      BUNDLED = File.expand_path("../native/libredlock.so.0", __dir__)
      ffi_lib(ENV["REDLOCK_LIBRARY"] || (File.exist?(BUNDLED) ? BUNDLED : "libredlock.so.0"))

      # name => [parameters, result, waits]. A function that waits is called without the GVL.
      SIGNATURES = {
        status_text: [%i[int32], :string],
        new: [%i[pointer size_t pointer pointer pointer], :int32],
        close: [%i[pointer int32 int64 pointer], :int32, true],
        free: [%i[pointer], :void],
        wait_ready: [%i[pointer int64 pointer], :int32, true],
        node_count: [%i[pointer], :size_t],
        node_url: [%i[pointer size_t], :string],
        lock_request: [%i[pointer pointer pointer pointer], :int32, true],
        cancel: [%i[pointer uint64], :int32],
        unlock: [%i[pointer pointer], :int32, true],
        unlock_nowait: [%i[pointer], :int32],
        extend: [%i[pointer uint64 pointer], :int32, true],
        lease_token: [%i[pointer pointer], :pointer],
        lease_fence: [%i[pointer], :uint64],
        lease_remaining_ms: [%i[pointer], :int64],
        lease_state: [%i[pointer], :int32],
        lease_node_count_held: [%i[pointer], :size_t],
        lease_wait_lost_cancellable: [%i[pointer int64 pointer], :int32, true],
        canceller_new: [%i[], :pointer],
        canceller_cancel: [%i[pointer], :int32],
        canceller_free: [%i[pointer], :void],
        lease_free: [%i[pointer], :void],
        unlock_token_bytes: [%i[pointer pointer size_t pointer size_t pointer], :int32, true],
        extend_token_bytes: [%i[pointer pointer size_t pointer size_t uint64 pointer], :int32, true],
        request_new: [%i[], :pointer],
        request_free: [%i[pointer], :void],
        request_set_resource_bytes: [%i[pointer pointer size_t], :int32],
        request_set_ttl_ms: [%i[pointer uint64], :int32],
        request_set_wait_ms: [%i[pointer int64], :int32],
        request_set_retries: [%i[pointer int64], :int32],
        request_set_token_bytes: [%i[pointer pointer size_t], :int32],
        request_set_fence: [%i[pointer int32], :int32],
        request_set_tag: [%i[pointer uint64], :int32],
        request_set_watch: [%i[pointer int32], :int32],
        request_set_report_remaining: [%i[pointer int32], :int32],
        request_set_auto_extend: [%i[pointer int32], :int32],
        request_set_max_hold_ms: [%i[pointer uint64], :int32],
        options_new: [%i[], :pointer],
        options_free: [%i[pointer], :void],
        options_set_node_timeout_ms: [%i[pointer uint64], :int32],
        options_set_stall_timeout_ms: [%i[pointer uint64], :int32],
        options_set_connect_timeout_ms: [%i[pointer uint64], :int32],
        options_set_retry_count: [%i[pointer int64], :int32],
        options_set_retry_delay_ms: [%i[pointer uint64], :int32],
        options_set_retry_jitter_ms: [%i[pointer uint64], :int32],
        options_set_drift_ppm: [%i[pointer uint64], :int32],
        options_set_key_prefix_bytes: [%i[pointer pointer size_t], :int32],
        options_set_max_ttl_ms: [%i[pointer uint64], :int32],
        options_set_restart_guard: [%i[pointer int32], :int32],
        options_set_wake: [%i[pointer int32], :int32],
        options_set_spin_us: [%i[pointer uint32], :int32],
        options_set_tls_ca_file: [%i[pointer string], :int32],
        options_set_tls_cert_file: [%i[pointer string], :int32],
        options_set_tls_key_file: [%i[pointer string], :int32],
        options_set_tls_insecure: [%i[pointer int32], :int32],
        options_set_username: [%i[pointer string], :int32],
        options_set_password: [%i[pointer string], :int32],
        options_set_client_name: [%i[pointer string], :int32],
        options_set_protocol: [%i[pointer int32], :int32],
        options_set_avoid_lua: [%i[pointer int32], :int32],
        error_free: [%i[pointer], :void],
        error_message: [%i[pointer], :string],
        error_node_count: [%i[pointer], :size_t],
        error_node_url: [%i[pointer size_t], :string],
        error_node_outcome: [%i[pointer size_t], :int32],
        error_node_text: [%i[pointer size_t], :string],
        error_node_elapsed_ms: [%i[pointer size_t], :uint64],
        error_node_remaining_ms: [%i[pointer size_t], :int64],
        inspect_bytes: [%i[pointer pointer size_t pointer pointer], :int32, true],
        inspection_free: [%i[pointer], :void],
        inspection_is_held: [%i[pointer], :int32],
        inspection_token: [%i[pointer pointer], :pointer],
        inspection_remaining_ms: [%i[pointer], :int64],
        inspection_node_count_held: [%i[pointer], :size_t],
        inspection_node_count: [%i[pointer], :size_t],
        inspection_node_url: [%i[pointer size_t], :string],
        inspection_node_outcome: [%i[pointer size_t], :int32],
        inspection_node_text: [%i[pointer size_t], :string],
        inspection_node_token: [%i[pointer size_t pointer], :pointer],
        inspection_node_remaining_ms: [%i[pointer size_t], :int64],
        fd: [%i[pointer], :int32],
        process: [%i[pointer], :int32],
        next_event: [%i[pointer], :pointer],
        submit_lock: [%i[pointer pointer pointer], :int32],
        submit_unlock: [%i[pointer uint64 pointer], :int32],
        submit_extend: [%i[pointer uint64 uint64 pointer], :int32],
        submit_unlock_token_bytes: [%i[pointer pointer size_t pointer size_t uint64 pointer], :int32],
        submit_extend_token_bytes: [%i[pointer pointer size_t pointer size_t uint64 uint64 pointer], :int32],
        submit_inspect_bytes: [%i[pointer pointer size_t uint64 pointer], :int32],
        event_kind: [%i[pointer], :int32],
        event_tag: [%i[pointer], :uint64],
        event_status: [%i[pointer], :int32],
        event_take_error: [%i[pointer], :pointer],
        event_take_lease: [%i[pointer], :pointer],
        event_take_inspection: [%i[pointer], :pointer],
        event_free: [%i[pointer], :void],
        stats: [%i[pointer pointer pointer], :int32],
        stats_free: [%i[pointer], :void],
        stats_attempts: [%i[pointer], :uint64],
        stats_acquired: [%i[pointer], :uint64],
        stats_contended: [%i[pointer], :uint64],
        stats_no_quorum: [%i[pointer], :uint64],
        stats_released: [%i[pointer], :uint64],
        stats_extended: [%i[pointer], :uint64],
        stats_lost: [%i[pointer], :uint64],
        stats_acquire_ns_sum: [%i[pointer], :uint64],
        stats_node_count: [%i[pointer], :size_t],
        stats_node_url: [%i[pointer size_t], :string],
        stats_node_is_up: [%i[pointer size_t], :int32],
        stats_node_note: [%i[pointer size_t], :string],
        stats_node_requests: [%i[pointer size_t], :uint64],
        stats_node_replies: [%i[pointer size_t], :uint64],
        stats_node_timeouts: [%i[pointer size_t], :uint64],
        stats_node_errors: [%i[pointer size_t], :uint64],
        stats_node_reconnects: [%i[pointer size_t], :uint64],
        stats_node_pending_releases: [%i[pointer size_t], :uint64],
        has_tls: [%i[], :int32],
        version_number: [%i[], :uint32],
        version: [%i[], :string]
      }.freeze

      # Constants of the header that this gem uses.
      CONSTANTS = {
        OK: 0, E_NOT_ACQUIRED: -1, E_NO_QUORUM: -2, E_LOST: -3, E_CANCELLED: -4, E_INTERRUPTED: -5, E_INVALID: -6,
        E_CONFIG: -7, E_FORKED: -8, E_UNKNOWN: -9, E_CLOSED: -10, E_INTERNAL: -11,
        LEASE_HELD: 1, LEASE_LOST: 2, LEASE_RELEASED: 3, EVENT_DONE: 1, NO_LIMIT: -1,
        PROTOCOL_AUTO: 0, PROTOCOL_RESP2: 2, PROTOCOL_RESP3: 3, GUARD_OFF: 0, GUARD_SEEN: 1, GUARD_STRICT: 2,
        NODE_DONE: 0, NODE_HELD: 1, NODE_NOT_MINE: 2, NODE_NOT_AWAITED: 3, NODE_GUARDED: 4, NODE_REFUSED: 5,
        NODE_PERMANENT: 6, NODE_TIMEOUT: 7, NODE_UNREACHABLE: 8, NODE_PROTOCOL: 9
      }.freeze
      CONSTANTS.each { |name, value| const_set(name, value) }

      SIGNATURES.each do |name, (parameters, result, waits)|
        attach_function name, :"redlock_#{name}", parameters, result, blocking: waits ? true : false
      end
      # For finalizers: with a timeout of 0 the call never waits.
      attach_function :close_now, :redlock_close, %i[pointer int32 int64 pointer], :int32

      wanted = VERSION.split(".").map(&:to_i)
      found = version.split(".").map(&:to_i)
      unless found[0] == wanted[0] && found[1] >= wanted[1]
        raise LoadError, "redlock-ffi #{VERSION} needs libredlock #{wanted[0]}.#{wanted[1]}, found #{version}"
      end

      # Reads bytes that a getter returned with their length.
      def self.bytes(function, *arguments)
        length = ::FFI::MemoryPointer.new(:size_t)
        pointer = public_send(function, *arguments, length)
        pointer.null? ? nil : pointer.read_bytes(length.get(:size_t, 0)).force_encoding(Encoding::UTF_8)
      end
    end
    private_constant :C
  end
end
