# frozen_string_literal: true

# Work that takes longer than the ttl: the lease extends itself, each step is a checkpoint, and loss is told at once.
require "redlock/ffi"

client = Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(","))
client.lock!("reports/2024", ttl: 0.6, auto_extend: true, max_hold: 60, fence: true) do |lease|
  lease.on_lost { warn "lost: stop" }
  5.times do |step|
    lease.check!
    sleep 0.2
    puts "step #{step} written with fence #{lease.fence.positive?}"
  end
end
puts "report done"
