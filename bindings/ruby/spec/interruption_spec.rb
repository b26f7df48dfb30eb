# frozen_string_literal: true

require_relative "spec_helper"

# What ends a wait from outside, and that no key stays behind. Locks last 10 minutes here: a key that is gone was released.
RSpec.describe "Interrupted waits" do
  let(:name) { fresh }
  let(:client) { connect(node_timeout: 60, stall_timeout: 60) }

  # So that no lease is released because it became garbage.
  around do |example|
    GC.disable
    example.run
  ensure
    GC.enable
  end

  def waiter(&block)
    reached = Queue.new
    thread = Thread.new do
      Thread.current.report_on_exception = false
      reached << true
      block.call
    end
    reached.pop
    sleep 0.2
    thread
  end

  ways = {
    "Timeout.timeout" => lambda do |wait, _spec|
      -> { Timeout.timeout(0.3) { wait.call } }
    end,
    "Thread#kill" => lambda do |wait, spec|
      lambda do
        thread = spec.waiter(&wait)
        thread.kill.join(Helpers::SOON) or raise "still waits"
        raise "killed" unless thread.value
      end
    end,
    "Thread#raise" => lambda do |wait, spec|
      lambda do
        thread = spec.waiter(&wait)
        thread.raise("enough")
        thread.join(Helpers::SOON) or raise "still waits"
      end
    end
  }
  messages = { "Timeout.timeout" => "execution expired", "Thread#kill" => "killed", "Thread#raise" => "enough" }

  ways.each do |way, make|
    it "end by #{way} while somebody else holds the lock" do
      other = connect.lock(name, ttl: 600)
      taken = seconds do
        expect(&make.call(-> { client.lock(name, ttl: 600, wait: nil) { raise "held" } }, self))
          .to raise_error(messages[way])
      end
      expect(taken).to be < 5
      other.unlock
      expect_no_key(name)
      expect(client.try_lock(name, ttl: 600) { :free }).to eq :free
    end

    it "end by #{way} while the nodes do not answer" do
      client.wait_ready
      stopping(3) do
        taken = seconds do
          expect(&make.call(-> { client.lock(name, ttl: 600, wait: nil) { raise "held" } }, self))
            .to raise_error(messages[way])
        end
        expect(taken).to be < 5
      end
      expect_no_key(name)
    end

    it "end by #{way} in a block, which releases the lock" do
      expect(&make.call(-> { client.lock(name, ttl: 600) { sleep } }, self)).to raise_error(messages[way])
      expect_no_key(name)
    end
  end

  it "leave no key, whatever the moment" do
    200.times do
      thread = Thread.new do
        Thread.current.report_on_exception = false
        loop { client.lock(name, ttl: 600, wait: nil) { Thread.pass } }
      end
      sleep rand * 0.003
      thread.raise("enough")
      expect { thread.join }.to raise_error("enough")
    end
    expect_no_key(name)
  end

  # The exception is there before the call begins, and is raised by what blocks first: the call of the C function.
  def with_pending_exception(&block)
    ready = false
    thread = Thread.new do
      Thread.current.report_on_exception = false
      Thread.handle_interrupt(RuntimeError => :on_blocking) do
        ready = true
        nil until Thread.pending_interrupt?
        block.call
      end
    end
    Thread.pass until ready
    thread.raise("pending")
    expect { thread.join }.to raise_error("pending")
  end

  it "release all the same where the exception was pending before the release began" do
    lease = client.lock(name, ttl: 600)
    with_pending_exception { lease.unlock }
    expect(lease).to be_released
    expect_no_key(name)
    expect { with_pending_exception { client.lock(name, ttl: 600) } }.not_to raise_error
    expect_no_key(name)
  end

  it "release a block's lock where the exception arrives at its end" do
    ready = false
    thread = Thread.new do
      Thread.current.report_on_exception = false
      Thread.handle_interrupt(RuntimeError => :on_blocking) do
        client.lock(name, ttl: 600) do
          ready = true
          nil until Thread.pending_interrupt?
        end
      end
    end
    Thread.pass until ready
    thread.raise("at the end")
    expect { thread.join }.to raise_error("at the end")
    expect_no_key(name)
  end

  it "release all the same where the release is interrupted because nodes do not answer" do
    lease = connect(node_timeout: 1).lock(name, ttl: 600)
    # A release waits for its node timeout at most, and is not cut short.
    taken = seconds do
      stopping(3) { expect { Timeout.timeout(0.3) { lease.unlock } }.to raise_error(Timeout::Error) }
    end
    expect(taken).to be < 5
    expect(lease).to be_released
    expect_no_key(name)
  end

  it "go on after a signal whose handler returns" do
    handled = Queue.new
    before = trap(:USR2) { handled << true }
    other = connect.lock(name, ttl: 600)
    thread = waiter { client.lock(name, ttl: 600, wait: nil) { :mine } }
    5.times { Process.kill(:USR2, Process.pid); handled.pop }
    expect(thread).to be_alive
    other.unlock
    expect(thread.value).to eq :mine
  ensure
    trap(:USR2, before || "DEFAULT")
  end

  it "end by Ctrl-C, and the process with them" do
    other = connect.lock(name, ttl: 600)
    script = <<~RUBY
      require "redlock/ffi"
      client = Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(","))
      $stdout.sync = true
      puts "waiting"
      begin
        client.lock(#{name.dump}, ttl: 600, wait: nil) { puts "held" }
      rescue Interrupt
        puts "interrupted"
      end
    RUBY
    taken = nil
    ruby("-e", script) do |io|
      expect(io.gets).to eq "waiting\n"
      sleep 0.3
      Process.kill(:INT, io.pid)
      taken = seconds { expect(Timeout.timeout(Helpers::SOON) { io.read }).to eq "interrupted\n" }
    end
    expect(taken).to be < 5
    other.unlock
    expect_no_key(name)
  end

  it "let other threads count on: the GVL is released" do
    other = connect.lock(name, ttl: 600)
    waiters = Array.new(16) { waiter { client.lock(name, ttl: 600, wait: 20) { :mine } } }
    count = 0
    counter = Thread.new { count += 1 while count < 1_000_000 }
    expect(counter.join(Helpers::SOON)).to be counter
    expect(waiters).to all(be_alive)
    other.unlock
    expect(waiters.map(&:value)).to all(eq(:mine))
  end

  it "end when the client is closed" do
    other = connect.lock(name, ttl: 600)
    thread = waiter { client.lock(name, ttl: 600, wait: nil) }
    client.close
    expect { thread.join(Helpers::SOON) }.to raise_error(Redlock::FFI::ClosedError)
    other.unlock
    expect_no_key(name)
    expect { client.lock(name) }.to raise_error(Redlock::FFI::ClosedError)
  end
end
