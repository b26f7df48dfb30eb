# frozen_string_literal: true

require "fiber"
require_relative "ffi/version"
require_relative "ffi/library"
require_relative "ffi/errors"
require_relative "ffi/handle"
require_relative "ffi/loop"
require_relative "ffi/request"
require_relative "ffi/reports"
require_relative "ffi/lease"
require_relative "ffi/reentrant_lock"
require_relative "ffi/client"

module Redlock
  # Distributed locks over N independent Redis or Valkey masters, by libredlock.
  module FFI
    # @return [String] the version of the C library
    def self.library_version
      C.version
    end

    # @return [Boolean] whether the C library can speak TLS
    def self.tls?
      C.has_tls == 1
    end
  end
end
