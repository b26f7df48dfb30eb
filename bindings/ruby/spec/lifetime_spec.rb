# frozen_string_literal: true

require "objspace"
require_relative "spec_helper"

RSpec.describe "Objects and memory" do
  let(:client) { connect }
  let(:name) { fresh }

  it "releases a lease that became garbage" do
    client.wait_ready
    20.times { |index| client.lock("#{name}-#{index}", ttl: 600) }
    eventually do
      GC.start
      (0...18).sum { |index| keys("#{name}-#{index}") }.zero?
    end
  end

  it "finalizes clients and leases in any order, under stress" do
    script = <<~RUBY
      require "redlock/ffi"
      GC.stress = true
      3.times do |index|
        client = Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(","))
        lease = client.lock("#{name}-\#{index}", ttl: 600, wait: nil, fence: true)
        begin
          client.lock!("#{name}-\#{index}", ttl: 600, wait: 0)
        rescue Redlock::FFI::NotAcquiredError => e
          raise unless e.nodes.size == 5
        end
        raise unless client.inspect_lock("#{name}-\#{index}").token == lease.token
        client.stats
        index.even? ? client = nil : lease = nil
      end
      puts "done"
    RUBY
    ruby("-e", script) { |io| expect(Timeout.timeout(60) { io.read }).to eq "done\n" }
    expect($?).to be_success
  end

  it "survives the end of a process in which everything is still held" do
    script = <<~RUBY
      require "redlock/ffi"
      clients = Array.new(5) { Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(",")) }
      $leases = clients.flat_map.with_index { |client, i| Array.new(5) { |j| client.lock("#{name}-\#{i}-\#{j}", ttl: 600, auto_extend: j.odd?) } }
      $leases.each { |lease| lease.on_lost { } }
      clients.shuffle!
      puts $leases.size
    RUBY
    ruby("-e", script) { |io| expect(Timeout.timeout(30) { io.read }).to eq "25\n" }
    expect($?).to be_success
  end

  it "leaks neither memory nor descriptors over 10 000 cycles" do
    cycle = lambda do |index|
      client.lock(name, ttl: 30) do
        client.try_lock(name, ttl: 30) if (index % 10).zero?
        client.inspect_lock(name) if (index % 50).zero?
      end
    end
    3_000.times(&cycle)
    GC.start
    before = [descriptors, resident_kb]
    10_000.times(&cycle)
    GC.start
    expect(descriptors).to be <= before[0]
    # 10 000 leaks of a single lease (0.5 kB) are 5 MB.
    expect(resident_kb - before[1]).to be < 4_000
    expect(ObjectSpace.each_object(Redlock::FFI::Lease).count).to be < 200
  end

  it "leaves no descriptors of clients" do
    GC.start
    before = descriptors
    30.times { connect.tap { |inner| inner.lock(name, ttl: 30) {} }.close }
    eventually { GC.start; descriptors <= before }
  end

  it "refuses Ractors, with a clear error" do
    warnings = $VERBOSE
    $VERBOSE = nil
    urls = Ractor.make_shareable(URLS.map(&:dup))
    ractor = Ractor.new(urls) do |inner|
      Redlock::FFI::Client.new(inner)
    rescue StandardError => e
      [e.class.name, e.message]
    end
    expect(ractor.take).to match ["Redlock::FFI::Error", /main Ractor/]
    expect { Ractor.make_shareable(client) }.to raise_error(TypeError, /another Ractor/)
    expect { Ractor.new(client) { |inner| inner } }.to raise_error(TypeError, /another Ractor/)
    lease = client.lock(name, ttl: 30)
    expect { Ractor.make_shareable(lease) }.to raise_error(TypeError, /another Ractor/)
    lease.unlock
    expect(client.lock(name, ttl: 30) { :usable }).to eq :usable
  ensure
    $VERBOSE = warnings
  end
end
