# frozen_string_literal: true

require_relative "lib/redlock/ffi/version"

Gem::Specification.new do |spec|
  spec.name = "redlock-ffi"
  spec.version = Redlock::FFI::VERSION
  spec.summary = "Distributed locks over N independent Redis masters, by libredlock"
  spec.description = "Leases with deadlines, extension, fencing tokens and loss that is told; safe with threads, fibers and fork."
  spec.authors = ["The libredlock authors"]
  spec.licenses = %w[MIT Apache-2.0]
  spec.required_ruby_version = ">= 3.1"
  spec.files = Dir["lib/**/*", "sig/**/*", "examples/*", "README.md"].select { |path| File.file?(path) }
  spec.add_dependency "ffi", ">= 1.15", "< 2"
  spec.metadata["rubygems_mfa_required"] = "true"
  # Platform gems carry the library.
  spec.platform = Gem::Platform.local if File.exist?(File.join(__dir__, "lib/redlock/native/libredlock.so.0"))
end
