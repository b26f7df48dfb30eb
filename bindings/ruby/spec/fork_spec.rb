# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe "Forked processes" do
  let(:client) { connect }
  let(:name) { fresh }

  it "make a handle of their own from an inherited client" do
    client.lock(name, ttl: 30) do
      in_child { client.try_lock(name).nil? && client.lock("#{name}-child", ttl: 30) { |lease| lease.held? } && client.stats.acquired == 1 }
    end
    in_child { client.lock(name, ttl: 30) { true } }
  end

  it "are refused an inherited lease, and do not release it by exit or garbage collection" do
    lease = client.lock(name, ttl: 60, auto_extend: true)
    watching = lease.on_lost { nil }
    in_child do
      calls = [-> { lease.unlock }, -> { lease.extend }, -> { lease.remaining }, -> { lease.token }, -> { lease.unlock_nowait },
               -> { lease.wait_lost(0) }, -> { lease.held? }, -> { lease.detach }]
      refused = calls.all? { |call| call.call && false rescue $!.is_a?(Redlock::FFI::ForkedError) && $!.message.include?(name) }
      refused && !lease.ours? && lease.inspect.include?("process #{Process.ppid}")
    end
    # An ordinary exit, with finalizers.
    pid = fork do
      lease = watching = nil # rubocop:disable Lint/UselessAssignment
      GC.start
      RSpec.world.wants_to_quit = true
      exit
    end
    Process.wait(pid)
    sleep 0.2
    expect(lease).to be_held
    expect(keys(name)).to be >= 3
    lease.unlock
  end

  it "release nothing where the block in which they were forked ends in them" do
    parent = Process.pid
    value = client.lock(name, ttl: 60) do
      pid = fork
      next :child unless pid

      Process.wait(pid)
      $?.success? && keys(name) >= 3
    end
    exit!(value == :child ? 0 : 1) unless Process.pid == parent
    expect(value).to be true
    expect_no_key(name)
  ensure
    exit!(2) unless Process.pid == parent
  end

  it "daemonize with a client that was made before" do
    script = <<~RUBY
      require "redlock/ffi"
      client = Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(","))
      client.lock(#{name.dump}, ttl: 60, wait: 5) { }
      Process.daemon(true, true)
      client.lock(#{name.dump}, ttl: 60, wait: 5) { |lease| puts "daemon \#{lease.held?}" }
    RUBY
    ruby("-e", script) { |io| expect(Timeout.timeout(30) { io.read }).to eq "daemon true\n" }
    expect_no_key(name)
  end

  # A master that loads the application with its client, and workers with threads that it forks, replaces and stops.
  it "serve as workers of a preforking server" do
    script = <<~RUBY
      require "redlock/ffi"
      $stdout.sync = true
      client = Redlock::FFI::Client.new(ENV.fetch("REDLOCK_NODES").split(","))
      boot = client.lock!("#{name}-boot", ttl: 60)
      work = lambda do |worker|
        stop = false
        trap(:TERM) { stop = true }
        Array.new(3) do |thread|
          Thread.new do
            turn = 0
            until stop && turn >= 5
              client.lock!(#{name.dump}, ttl: 60, wait: 30) do
                File.open(ARGV[0], File::RDWR | File::CREAT) do |file|
                  raise "two inside" unless file.flock(File::LOCK_EX | File::LOCK_NB)
                end
              end
              turn += 1
            end
          end
        end.each(&:join)
        puts "worker \#{worker} done"
      end
      start = ->(worker) { fork { work.call(worker) } }
      workers = [start.(0), start.(1)]
      sleep 0.5
      Process.kill(:TERM, workers[0])
      Process.wait(workers[0])
      workers[0] = start.(2)
      sleep 0.3
      workers.each { |pid| Process.kill(:TERM, pid) }
      states = workers.map { |pid| Process.wait2(pid)[1].success? }
      puts "master \#{states} \#{boot.held?} \#{client.locked?("#{name}-boot")}"
      boot.unlock
    RUBY
    file = "/tmp/#{name}.lock"
    lines = ruby("-e", script, file) { |io| Timeout.timeout(60) { io.read } }.lines(chomp: true)
    expect(lines.sort).to eq ["master [true, true] true true", "worker 0 done", "worker 1 done", "worker 2 done"]
    expect_no_key(name)
  ensure
    File.delete(file) if file && File.exist?(file)
  end
end
