# frozen_string_literal: true

require "redlock/ffi"
client = Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(","))
client.lock!("five", ttl: 10) { puts "locked" }
