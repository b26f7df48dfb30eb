# frozen_string_literal: true

# A job that must not run twice at the same time. The second process skips it.
require "redlock/ffi"

client = Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(","))
ran = client.try_lock("jobs/nightly", ttl: 30) do |lease|
  puts "job runs with token #{lease.token[0, 8]}..."
  true
end
puts ran ? "job done" : "somebody else runs it"
