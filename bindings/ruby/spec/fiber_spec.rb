# frozen_string_literal: true

require_relative "spec_helper"
require "async"

RSpec.describe "Fibers under a scheduler" do
  let(:client) { connect }
  let(:name) { fresh }

  def async
    Timeout.timeout(60) { Async { |task| yield task }.wait }
  end

  it "wait by the thousand for a few locks, in one thread" do
    inside = Hash.new(0)
    most = turns = 0
    threads = Thread.list.size
    async do |task|
      Array.new(1_000) do |index|
        task.async do
          client.lock!("#{name}-#{index % 20}", ttl: 60, wait: 60) do
            most = [most, inside[index % 20] += 1].max
            task.sleep(0) if (index % 3).zero?
            turns += 1
            inside[index % 20] -= 1
          end
        end
      end.each(&:wait)
      expect(Thread.list.size).to be <= threads + 1
    end
    expect([most, turns]).to eq [1, 1_000]
    20.times { |index| expect_no_key("#{name}-#{index}") }
  end

  it "let others run while they wait" do
    other = connect.lock(name, ttl: 60)
    ticks = 0
    async do |task|
      waiter = task.async { client.lock(name, ttl: 60, wait: 30) { :mine } }
      20.times { task.sleep(0.01); ticks += 1 }
      other.unlock
      expect(waiter.wait).to eq :mine
    end
    expect(ticks).to eq 20
  end

  it "do everything that threads do" do
    async do
      client.wait_ready
      lease = client.lock(name, ttl: 5, fence: true)
      expect(lease.fence).to be_positive
      expect(lease.extend(60).remaining).to be > 50
      expect(client.inspect_lock(name).token).to eq lease.token
      expect(client.try_lock(name)).to be_nil
      expect { client.lock!(name, wait: 0.05) }.to raise_error(Redlock::FFI::NotAcquiredError) { |e| expect(e.nodes.size).to eq 5 }
      client.extend_token(name, lease.token, 30)
      expect(lease.wait_lost(0.05)).to be false
      lease.unlock
      client.lock(name, ttl: 0.6, auto_extend: true) { |inner| sleep 1; inner.check! }
      token = client.lock(name, ttl: 30).detach[1]
      client.unlock_token(name, token)
      expect(client.locked?(name)).to be false
      expect { client.unlock_token(name, token) }.to raise_error(Redlock::FFI::LostError)
      expect(client.reentrant(name).then { |lock| lock.synchronize { lock.synchronize { lock.depth } } }).to eq 2
    end
  end

  it "leave no key when they are stopped or run out of time" do
    other = connect.lock(name, ttl: 600)
    async do |task|
      expect { task.with_timeout(0.1) { client.lock(name, ttl: 600, wait: nil) } }.to raise_error(Async::TimeoutError)
      waiters = Array.new(50) { task.async { client.lock(name, ttl: 600, wait: nil) { raise "held" } } }
      task.sleep(0.1)
      waiters.each(&:stop)
    end
    other.unlock
    expect_no_key(name)
  end

  it "leave no key, whatever the moment they are stopped" do
    async do |task|
      200.times do |index|
        waiter = task.async { loop { client.lock("#{name}-#{index % 5}", ttl: 600, wait: nil) { task.sleep(0) } } }
        task.sleep(rand * 0.004)
        waiter.stop
      end
      task.sleep(0.1)
    end
    5.times { |index| expect_no_key("#{name}-#{index}") }
  end

  it "release all the same where the release is stopped because nodes do not answer" do
    patient = connect(node_timeout: 60, stall_timeout: 60)
    async do |task|
      lease = patient.lock(name, ttl: 600)
      stopping(3) { expect { task.with_timeout(0.3) { lease.unlock } }.to raise_error(Async::TimeoutError) }
      expect(lease).to be_released
    end
    expect_no_key(name)
  end

  it "share a client with threads and with the schedulers of other threads" do
    count = 0
    mutex = Mutex.new
    work = ->(task) { Array.new(20) { task.async { client.lock!(name, ttl: 60, wait: 60) { mutex.synchronize { count += 1 } } } }.each(&:wait) }
    threads = Array.new(3) { Thread.new { Async { |task| work.call(task) }.wait } } +
              Array.new(3) { Thread.new { 20.times { client.lock!(name, ttl: 60, wait: 60) { mutex.synchronize { count += 1 } } } } }
    Timeout.timeout(60) { threads.each(&:join) }
    expect(count).to eq 120
  end

  it "end with an error when too few nodes answer" do
    nowhere = connect(["redis://127.0.0.1:1"])
    async { expect { nowhere.lock(name, wait: 0) }.to raise_error(Redlock::FFI::NoQuorumError) }
  end
end
