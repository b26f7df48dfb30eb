# frozen_string_literal: true

# Real servers: those of `tools/servers run 5`, and more that a spec starts to kill them.
require "rbconfig"
require "socket"
require "timeout"
require "redlock/ffi"

URLS = ENV.fetch("REDLOCK_NODES").split(",").freeze
PIDS = ENV.fetch("REDLOCK_TEST_PIDS").split(",").map { |pid| Integer(pid) }.freeze

# A server that a spec may kill and start again.
class Server
  attr_reader :pid, :port

  def initialize(port = Server.free_port)
    @port = port
    start
  end

  def self.free_port
    TCPServer.open("127.0.0.1", 0) { |socket| socket.addr[1] }
  end

  def start
    @pid = spawn(ENV.fetch("REDIS_SERVER", "redis-server"), "--port", port.to_s, "--bind", "127.0.0.1", "--save", "",
                 "--appendonly", "no", in: File::NULL, out: File::NULL, err: File::NULL)
    Helpers.eventually { Helpers.ask(url, "PING") == "+PONG" }
    self
  end

  def kill
    return unless @pid

    Process.kill(:KILL, @pid)
    Process.wait(@pid)
    @pid = nil
  end

  def url = "redis://127.0.0.1:#{port}"
end

module Helpers
  # The longest that something quick may take on a busy machine, in seconds.
  SOON = 10

  @count = 0
  class << self
    def next_name = "ruby-#{Process.pid}-#{@count += 1}"

    # The first line of a server's answer; nil where there is none.
    def ask(url, *words)
      host, port = url.delete_prefix("redis://").split(":")
      Socket.tcp(host, Integer(port), connect_timeout: 2) do |socket|
        socket.write("*#{words.size}\r\n", *words.map { |word| "$#{word.bytesize}\r\n#{word}\r\n" })
        socket.gets&.chomp
      end
    rescue SystemCallError
      nil
    end

    def eventually(seconds = SOON)
      deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
      until yield
        raise "did not come about in #{seconds} s" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

        sleep 0.01
      end
    end
  end

  def fresh = Helpers.next_name
  def connect(urls = URLS, **options) = Redlock::FFI::Client.new(urls, node_timeout: 2, **options)
  def eventually(...) = Helpers.eventually(...)

  # On how many nodes the key is.
  def keys(name, urls = URLS) = urls.count { |url| Helpers.ask(url, "EXISTS", name) == ":1" }

  # Nobody collects garbage here: the key goes because whoever took it releases it.
  def expect_no_key(name) = eventually { keys(name).zero? }

  def flush(urls) = urls.each { |url| Helpers.ask(url, "FLUSHALL") }

  def seconds
    start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    yield
    Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
  end

  # Runs the block while some of the nodes are stopped.
  def stopping(count)
    PIDS.first(count).each { |pid| Process.kill(:STOP, pid) }
    yield
  ensure
    PIDS.first(count).each { |pid| Process.kill(:CONT, pid) }
  end

  # A child that runs the block. What it returns must be true.
  def in_child
    reader, writer = IO.pipe
    pid = fork do
      reader.close
      writer.write(yield == true ? "true" : "false")
    rescue Exception => e # rubocop:disable Lint/RescueException
      writer.write("#{e.class}: #{e.message}")
    ensure
      writer.close
      exit!(0)
    end
    writer.close
    answer = Timeout.timeout(30) { reader.read }
    Process.wait(pid)
    expect(answer).to eq "true"
  end

  # A Ruby process of its own, with this gem.
  def ruby(*arguments, &block)
    variables = arguments.first.is_a?(Hash) ? arguments.shift : {}
    IO.popen([variables, RbConfig.ruby, "-I", File.expand_path("../lib", __dir__), *arguments], &block)
  end

  def descriptors = Dir.children("/proc/self/fd").size
  def resident_kb = File.read("/proc/self/status")[/VmRSS:\s+(\d+)/, 1].to_i
end

RSpec.configure do |config|
  config.include Helpers
  config.before(:suite) do
    server = IO.popen([ENV.fetch("REDIS_SERVER", "redis-server"), "--version"], &:read)[/v=(\S+)/, 1]
    puts "Ruby #{RUBY_VERSION}, ffi #{FFI::VERSION}, libredlock #{Redlock::FFI.library_version}, redis-server #{server}"
  end
end
