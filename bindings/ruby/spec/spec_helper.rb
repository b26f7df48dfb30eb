# frozen_string_literal: true

# Real servers: those of `tools/servers run 5`.
require "timeout"
require "redlock/ffi"

URLS = ENV.fetch("REDLOCK_NODES").split(",").freeze
PIDS = ENV.fetch("REDLOCK_TEST_PIDS").split(",").map { |pid| Integer(pid) }.freeze

module Helpers
  @count = 0
  class << self
    def next_name = "ruby-#{Process.pid}-#{@count += 1}"
  end

  def fresh = Helpers.next_name
  def connect(**options) = Redlock::FFI::Client.new(URLS, node_timeout: 2, **options)
end

RSpec.configure do |config|
  config.include Helpers
  config.before(:suite) { puts "Ruby #{RUBY_VERSION}, ffi #{FFI::VERSION}" }
end
