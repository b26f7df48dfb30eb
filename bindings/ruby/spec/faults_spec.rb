# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe "Faults of nodes" do
  let(:name) { fresh }

  it "does not notice two of five nodes that stand still" do
    stopping(2) { expect(connect(node_timeout: 0.2).lock(name, ttl: 30, wait: 10) { :done }).to eq :done }
  end

  it "names what the nodes said where three of five stand still" do
    client = connect(node_timeout: 0.2)
    client.wait_ready
    stopping(3) do
      expect { client.lock(name, ttl: 30, wait: 0) }.to raise_error(Redlock::FFI::NoQuorumError) { |error|
        expect(error.status).to eq(-2)
        expect(error.nodes.map(&:url)).to eq URLS
        # One that was not connected yet when it was stopped is unreachable.
        expect(error.nodes.count { |node| %i[timeout unreachable].include?(node.outcome) }).to eq 3
        expect(error.nodes.first.elapsed).to be > 0.1
      }
    end
    expect_no_key(name)
    eventually { client.lock(name, ttl: 30, wait: 5) { true } }
  end

  it "goes on when nodes die and come back" do
    servers = Array.new(3) { Server.new }
    client = connect(servers.map(&:url), restart_guard: :off)
    expect(client.lock(name, ttl: 30) { :all }).to eq :all
    servers[0].kill
    expect(client.lock(name, ttl: 30) { :two }).to eq :two
    servers[1].kill
    expect { client.lock(name, ttl: 30, wait: 0.2) }.to raise_error(Redlock::FFI::NoQuorumError)
    servers[0].start
    expect(client.lock(name, ttl: 30, wait: Helpers::SOON) { :back }).to eq :back
  ensure
    servers&.each(&:kill)
  end

  it "tells the holder that its keys were deleted: at the next extension, at the end, and through on_lost" do
    servers = Array.new(3) { Server.new }
    urls = servers.map(&:url)
    client = connect(urls)
    expect do
      client.lock(name, ttl: 30) do |lease|
        flush(urls)
        lease.extend
      end
    end.to raise_error(Redlock::FFI::LostError)
    expect { client.lock(name, ttl: 30) { flush(urls) } }.to raise_error(Redlock::FFI::LostError)

    told = Queue.new
    reached = false
    expect do
      client.lock(name, ttl: 0.9, auto_extend: true) do |lease|
        lease.on_lost { |lost| told << lost }
        flush(urls)
        expect(Timeout.timeout(Helpers::SOON) { told.pop }).to be lease
        lease.check!
        reached = true
      end
    end.to raise_error(Redlock::FFI::LostError)
    expect(reached).to be false
    expect(client.stats.lost).to be >= 1
  ensure
    servers&.each(&:kill)
  end

  it "loses the lease in time where most nodes die" do
    servers = Array.new(3) { Server.new }
    client = connect(servers.map(&:url), node_timeout: 0.2)
    lease = client.lock(name, ttl: 1, auto_extend: true)
    servers.first(2).each(&:kill)
    expect(seconds { expect(lease.wait_lost(Helpers::SOON)).to be true }).to be < 5
    expect(lease).to be_lost
    expect(lease.remaining).to eq 0.0
    expect { lease.check! }.to raise_error(Redlock::FFI::LostError)
    expect { lease.extend }.to raise_error(Redlock::FFI::LostError)
  ensure
    servers&.each(&:kill)
  end

  it "keeps an exception of the block, even where the lock is lost too" do
    servers = Array.new(3) { Server.new }
    urls = servers.map(&:url)
    expect { connect(urls).lock(name, ttl: 30) { flush(urls) and raise "of the block" } }.to raise_error("of the block")
  ensure
    servers&.each(&:kill)
  end

  it "tells of a wrong password and of URLs that make no sense" do
    servers = Array.new(1) { Server.new }
    Helpers.ask(servers[0].url, "CONFIG", "SET", "requirepass", "secret")
    expect { connect([servers[0].url], password: "wrong").lock(name, wait: 1) }.to raise_error(Redlock::FFI::ConfigError)
    expect(connect([servers[0].url], password: "secret").lock(name) { :open }).to eq :open
  ensure
    servers&.each(&:kill)
  end
end
