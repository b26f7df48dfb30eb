# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe Redlock::FFI::Client do
  let(:client) { connect }
  let(:name) { fresh }

  it "holds the lock during the block and returns the block's value" do
    value = client.lock(name, ttl: 30) do |lease|
      expect(lease).to be_held
      expect(lease.remaining).to be_between(25, 30)
      expect(client.locked?(name)).to be true
      expect(client.try_lock(name, ttl: 30) { raise "held" }).to be_nil
      42
    end
    expect(value).to eq 42
    expect(client.locked?(name)).to be false
  end

  it "names what each node said when others hold the lock" do
    client.lock(name, ttl: 30) do
      expect { connect.lock!(name, ttl: 30, wait: 0.05) { raise "held" } }
        .to raise_error(Redlock::FFI::NotAcquiredError) { |error| expect(error.nodes.size).to eq 5 }
    end
  end

  it "wakes a waiter when the lock is released" do
    lease = client.lock(name, ttl: 30)
    waiter = Thread.new { connect.lock(name, ttl: 30, wait: 20, &:token) }
    sleep 0.2
    lease.unlock
    expect(waiter.value).to be_a String
  end

  it "gives growing fencing tokens" do
    tokens = Array.new(5) { client.lock(name, ttl: 30, fence: true, &:fence) }
    expect(tokens).to eq tokens.uniq.sort
  end

  it "raises LostError at the end of a block whose lease was lost, and notices the loss at once" do
    lost = Queue.new
    expect do
      client.lock(name, ttl: 30, auto_extend: true) do |lease|
        lease.on_lost { lost << true }
        client.unlock_token(name, lease.token)
        Timeout.timeout(10) { lost.pop }
        expect(lease).to be_lost
      end
    end.to raise_error(Redlock::FFI::LostError)
  end

  it "releases and extends by token, and refuses wrong ones" do
    lease = client.lock(name, ttl: 5)
    client.extend_token(name, lease.token, 60)
    expect { client.unlock_token(name, "another's") }.to raise_error(Redlock::FFI::LostError)
    client.unlock_token(name, lease.token)
    expect(client.locked?(name)).to be false
  end

  it "excludes threads from each other" do
    inside = most = turns = 0
    Array.new(8) do
      Thread.new do
        20.times do
          client.lock!(name, ttl: 30, wait: 30) do
            inside += 1
            most = [most, inside].max
            turns += 1
            inside -= 1
          end
        end
      end
    end.each(&:join)
    expect([most, turns]).to eq [1, 160]
  end

  it "refuses what makes no sense" do
    expect { client.lock("", ttl: 1) }.to raise_error(Redlock::FFI::InvalidError)
    expect { client.lock("x", ttl: 0) }.to raise_error(Redlock::FFI::InvalidError)
    expect { Redlock::FFI::Client.new(["gopher://x"]) }.to raise_error(Redlock::FFI::ConfigError)
    expect { Redlock::FFI::Client.new(["redis://127.0.0.1:1"]).lock("x", ttl: 1, wait: 0) }
      .to raise_error(Redlock::FFI::NoQuorumError)
  end
end
