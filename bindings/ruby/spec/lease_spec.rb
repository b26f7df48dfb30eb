# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe Redlock::FFI::Lease do
  let(:client) { connect }
  let(:name) { fresh }

  it "is what lock returns without a block, until it is unlocked" do
    lease = client.lock(name, ttl: 30)
    expect(lease).to have_attributes(resource: name, ttl: 30.0, held?: true, lost?: false, released?: false, fence: nil,
                                     node_count_held: be_between(3, 5), ours?: true)
    expect(lease.check!).to be_between(20, 30)
    expect(lease.inspect).to match(/#{name}.* s>/)
    expect(keys(name)).to be >= 3
    lease.unlock
    expect(lease).to have_attributes(held?: false, lost?: false, released?: true, remaining: 0.0)
    expect(lease.inspect).to include "released"
    expect { lease.check! }.to raise_error(Redlock::FFI::LostError)
    lease.unlock
    expect_no_key(name)
  end

  it "takes ttl as Integer, Float and Rational" do
    [30, 30.5, 61r / 2].each { |ttl| expect(client.lock(name, ttl: ttl, &:remaining)).to be_between(25, 30.6) }
    expect { client.lock(name, ttl: "soon") }.to raise_error(ArgumentError)
    expect { client.lock(name, ttl: -1) }.to raise_error(ArgumentError)
    expect { client.lock(name, unknown: 1) }.to raise_error(ArgumentError, /unknown keyword: unknown/)
    expect { connect(unknown: 1) }.to raise_error(ArgumentError, /unknown option/)
  end

  it "extends" do
    client.lock(name, ttl: 5) do |lease|
      expect(lease.extend(60)).to be lease
      expect(lease.remaining).to be > 50
    end
  end

  it "extends itself, and not beyond max_hold" do
    lease = client.lock(name, ttl: 0.6, auto_extend: true, max_hold: 2)
    sleep 1.3
    expect(lease).to be_held
    expect(lease.wait_lost(Helpers::SOON)).to be true
    expect(lease).to be_lost
  end

  it "is lost when its time is over, and on_lost is not called after a release" do
    told = Queue.new
    released = client.lock("#{name}-released", ttl: 30)
    released.on_lost { told << :released }
    released.unlock
    lease = client.lock(name, ttl: 0.2)
    lease.on_lost { told << :lost }
    expect(Timeout.timeout(Helpers::SOON) { told.pop }).to eq :lost
    expect(lease.wait_lost(0)).to be true
    sleep 0.1
    expect(told).to be_empty
  end

  it "waits for its loss no longer than told" do
    lease = client.lock(name, ttl: 30)
    expect(lease.wait_lost(0.05)).to be false
    lease.unlock
  end

  it "is given up by detach, also while others watch it, and the lock stays" do
    lease = client.lock(name, ttl: 30, auto_extend: true)
    told = Queue.new
    lease.on_lost { told << true }
    watcher = Thread.new { lease.wait_lost rescue $!.class }
    sleep 0.1
    resource, token = lease.detach
    expect(resource).to eq name
    expect(watcher.value).to be Redlock::FFI::ClosedError
    expect { lease.remaining }.to raise_error(Redlock::FFI::ClosedError)
    lease = nil
    GC.start
    expect(client.locked?(name)).to be true
    client.unlock_token(name, token)
    expect_no_key(name)
    expect(told).to be_empty
  end

  it "carries a token of one's own, and any bytes" do
    binary = "\xff\x00\n#{name}".b
    client.lock!(binary, ttl: 30, token: "mine \x00") do |lease|
      expect(lease.token.b).to eq "mine \x00".b
      expect(client.inspect_lock(binary).token.b).to eq "mine \x00".b
    end
  end

  it "fences with growing tokens across clients" do
    tokens = Array.new(4) { connect.lock(name, ttl: 30, fence: true, &:fence) }
    expect(tokens).to eq tokens.uniq.sort
  end

  it "cannot be copied" do
    lease = client.lock(name, ttl: 30)
    expect { lease.dup }.to raise_error(TypeError)
    expect { client.clone }.to raise_error(TypeError)
    lease.unlock
  end
end

RSpec.describe Redlock::FFI::Client do
  let(:client) { connect }
  let(:name) { fresh }

  it "inspects" do
    expect(client.inspect_lock(name)).to have_attributes(held?: false, token: nil, node_count_held: 0)
    client.lock!(name, ttl: 30) do |lease|
      inspection = connect.inspect_lock(name)
      expect(inspection).to have_attributes(held?: true, token: lease.token, remaining: be_between(20, 30),
                                            node_count_held: be >= 3)
      expect(inspection.nodes.map(&:url)).to eq URLS
      expect(inspection.nodes.count { |node| node.token == lease.token && node.remaining > 20 }).to be >= 3
    end
  end

  it "counts" do
    client.lock!(name, ttl: 30) do |lease|
      lease.extend
      connect.try_lock(name)
      client.try_lock(name)
    end
    stats = client.stats
    expect(stats).to have_attributes(acquired: 1, released: 1, extended: 1, contended: be >= 1, lost: 0, no_quorum: 0,
                                     attempts: be >= 2, acquire_seconds: be_between(0, 60))
    expect(stats.nodes).to all(have_attributes(up: true, requests: be >= 2, errors: be >= 0))
    expect(stats.nodes.map(&:url)).to eq URLS
  end

  it "takes each option" do
    options = { stall_timeout: 3, connect_timeout: 1, retry_delay: 0.01, retry_jitter: 0.01, max_ttl: 60, retry_count: nil,
                drift_ppm: 10_000, spin_us: 0, restart_guard: :off, protocol: :resp2, wake: true, avoid_lua: false,
                tls_insecure: false, key_prefix: "ruby:", client_name: "spec" }
    connect(**options).lock(name, ttl: 30) { expect([keys(name), keys("ruby:#{name}")]).to match [0, be >= 3] }
    expect { connect(protocol: :resp9) }.to raise_error(ArgumentError, /protocol is one of/)
    expect { connect(drift_ppm: 10**12) }.to raise_error(Redlock::FFI::InvalidError)
  end

  it "waits until it is ready, and names its nodes without passwords" do
    expect(client.wait_ready(Helpers::SOON)).to be client
    expect(client.nodes).to eq URLS
    expect(Redlock::FFI::Client.new(["redis://u:secret@127.0.0.1:1"]).then { |c| c.nodes.join + c.inspect })
      .not_to include("secret")
    expect { connect(["redis://127.0.0.1:1"]).wait_ready(0.1) }.to raise_error(Redlock::FFI::NoQuorumError)
  end

  it "releases what it holds when it is closed, or keeps it" do
    kept = connect
    client.lock(name, ttl: 30)
    token = kept.lock("#{name}-kept", ttl: 30).token
    client.close
    client.close
    kept.close(release: false)
    expect_no_key(name)
    expect(keys("#{name}-kept")).to be >= 3
    connect.unlock_token("#{name}-kept", token)
  end
end

RSpec.describe Redlock::FFI::ReentrantLock do
  let(:client) { connect }
  let(:name) { fresh }

  it "is taken again by its thread, and released at the end of the outermost block, also by an exception" do
    lock = client.reentrant(name, ttl: 30, wait: 0)
    expect { lock.synchronize { lock.synchronize { |lease| expect(lease).to be lock.lease; raise "inner" } } }
      .to raise_error("inner")
    expect(lock).to have_attributes(depth: 0, lease: nil)
    expect_no_key(name)
  end

  it "keeps other threads out" do
    lock = client.reentrant(name, ttl: 30, wait: 0)
    lock.synchronize do
      thread = Thread.new { [lock.depth, lock.lease, (lock.synchronize {} rescue $!.class)] }
      expect(thread.value).to eq [0, nil, Redlock::FFI::NotAcquiredError]
      expect(lock.depth).to eq 1
    end
    expect(Thread.new { lock.synchronize { :next } }.value).to eq :next
  end

  it "raises on entering an inner block when the lease is lost" do
    lock = client.reentrant(name, ttl: 30)
    entered = false
    expect do
      lock.synchronize do |lease|
        lease.unlock
        lock.synchronize { entered = true }
      end
    end.to raise_error(Redlock::FFI::LostError)
    expect(entered).to be false
  end
end
