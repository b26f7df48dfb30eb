# frozen_string_literal: true

# Wait for others, but not for ever, and tell why it failed.
require "redlock/ffi"

client = Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(","))
client.lock!("orders/42", ttl: 10) do
  waiter = Thread.new do
    client.lock!("orders/42", ttl: 10, wait: 0.3, report_remaining: true) { puts "never reached" }
  rescue Redlock::FFI::NotAcquiredError => e
    puts e.message
    puts "node 1: #{e.nodes.first.outcome}"
  end
  waiter.join
end
client.lock!("orders/42", ttl: 10, wait: 1) { puts "order shipped" }
