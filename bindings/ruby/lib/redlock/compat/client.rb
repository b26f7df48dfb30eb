# frozen_string_literal: true

require "securerandom"

module Redlock
  # The interface of redlock-rb 2.0 over libredlock. Times are milliseconds here. Locks are told by a Hash with :validity,
  # :resource and :value, and last until their time is over or they are unlocked.
  class Client
    DEFAULT_REDIS_HOST = ENV["DEFAULT_REDIS_HOST"] || "localhost"
    DEFAULT_REDIS_PORT = ENV["DEFAULT_REDIS_PORT"] || "6379"
    DEFAULT_REDIS_URLS = ["redis://#{DEFAULT_REDIS_HOST}:#{DEFAULT_REDIS_PORT}"].freeze
    DEFAULT_REDIS_TIMEOUT = 0.1
    DEFAULT_RETRY_COUNT = 3
    DEFAULT_RETRY_DELAY = 200
    DEFAULT_RETRY_JITTER = 50
    CLOCK_DRIFT_FACTOR = 0.01

    class << self
      # @return [Symbol, nil] nil, :bypass (every lock is granted, no server is asked) or :fail (none is)
      attr_accessor :testing_mode

      # @return [Proc] a monotonic clock in milliseconds
      def default_time_source
        proc { (Process.clock_gettime(Process::CLOCK_MONOTONIC) * 1000).to_i }
      end
    end

    # This client's own mode; nil: that of the class.
    attr_writer :testing_mode

    # @return [Symbol, nil] this client's mode, else that of the class
    def testing_mode
      @testing_mode || self.class.testing_mode
    end

    # @param servers [Array<String, Hash, Object>] URLs, hashes as for a Redis client, clients or pools of them
    # @param options [Hash] retry_count, retry_delay (ms, or a Proc of the attempt), retry_jitter (ms), redis_timeout
    #   (seconds), time_source (a Proc that returns milliseconds)
    # @raise [ArgumentError] for what is not a server
    # @raise [FFI::ConfigError] for a malformed URL
    def initialize(servers = DEFAULT_REDIS_URLS, options = {})
      @defaults = { retry_count: DEFAULT_RETRY_COUNT, retry_delay: DEFAULT_RETRY_DELAY, retry_jitter: DEFAULT_RETRY_JITTER }
                  .merge(options.slice(:retry_count, :retry_delay, :retry_jitter).compact)
      @time_source = options[:time_source] || self.class.default_time_source
      timeout = options[:redis_timeout] || DEFAULT_REDIS_TIMEOUT
      @client = FFI::Client.new(servers.map { |server| Servers.url(server) },
                                node_timeout: timeout, connect_timeout: [timeout, 0.5].max)
    end

    # Takes a lock for +ttl+ milliseconds, at most 1 + retry_count times.
    # @param options [Hash] retry_count, retry_delay, retry_jitter; extend: the Hash of a lock to be extended;
    #   extend_only_if_locked: not taken anew where it is over (also extend_only_if_life, extend_life)
    # @yieldparam lock_info [Hash, false] the block is run in both cases; the lock is released after it
    # @return [Hash, false] :validity (ms), :resource and :value; with a block: whether the lock was taken
    # @raise [LockAcquisitionError] where too few nodes answered
    def lock(resource, ttl, options = {})
      lock_info = obtain(resource, ttl, options)
      return lock_info unless block_given?

      begin
        yield lock_info
        !!lock_info
      ensure
        unlock(lock_info) if lock_info
      end
    end

    # Runs the block while the lock is held, and returns its value.
    # @raise [LockError] where others hold the lock
    # @raise [LockAcquisitionError] where too few nodes answered
    def lock!(resource, ttl, options = {})
      raise "No block passed" unless block_given?

      lock(resource, ttl, options) do |lock_info|
        raise LockError, resource unless lock_info

        return yield
      end
    end

    # Releases a lock as far as nodes can be reached. It raises nothing where they cannot, or where the lock is over.
    # @param lock_info [Hash] what {#lock} returned
    # @return [void]
    def unlock(lock_info)
      @client.unlock_token(lock_info[:resource], lock_info[:value]) unless testing_mode == :bypass
    rescue FFI::Error
      nil
    end

    # @return [Integer, nil] milliseconds for which the lock is still held by this Hash
    def get_remaining_ttl_for_lock(lock_info)
      remaining(lock_info[:resource]) { |token| token == lock_info[:value] }
    end

    # @return [Integer, nil] milliseconds for which anybody holds the lock
    def get_remaining_ttl_for_resource(resource)
      remaining(resource) { true }
    end

    # @return [Boolean] whether anybody holds the lock; false where too few nodes answered
    def locked?(resource)
      ttl = get_remaining_ttl_for_resource(resource)
      !ttl.nil? && ttl.positive?
    end

    # @return [Boolean] whether the lock of this Hash is still held; false where too few nodes answered
    def valid_lock?(lock_info)
      ttl = get_remaining_ttl_for_lock(lock_info)
      !ttl.nil? && ttl.positive?
    end

    private

    def obtain(resource, ttl, options)
      case testing_mode
      when :bypass
        return { validity: ttl, resource: resource, value: (options[:extend] || {}).fetch(:value) { SecureRandom.uuid } }
      when :fail then return false
      end
      return extended(resource, ttl, options) if options[:extend]

      choice = @defaults.merge(options.slice(:retry_count, :retry_delay, :retry_jitter).compact)
      (choice[:retry_count] + 1).times do |attempt|
        pause(attempt, choice) if attempt.positive?
        lock_info = attempt(resource, ttl, last: attempt == choice[:retry_count])
        return lock_info if lock_info
      end
      false
    end

    def pause(attempt, choice)
      delay = choice[:retry_delay]
      delay = delay.call(attempt) if delay.respond_to?(:call)
      sleep((delay + rand(choice[:retry_jitter].to_i)) / 1000.0)
    end

    def attempt(resource, ttl, last: true, **request)
      lease = @client.try_lock(resource, ttl: ttl / 1000r, **request) or return false
      validity = (lease.remaining * 1000).to_i
      resource, value = lease.detach
      { validity: validity, resource: resource, value: value }
    rescue FFI::NoQuorumError, FFI::ConfigError => e
      raise LockAcquisitionError.new(resource, errors_of(e)) if last

      false
    end

    def extended(resource, ttl, options)
      value = options[:extend].fetch(:value)
      start = @time_source.call
      @client.extend_token(resource, value, ttl / 1000r)
      validity = ttl - (@time_source.call - start) - (ttl * CLOCK_DRIFT_FACTOR).to_i - 2
      validity >= 0 && { validity: validity, resource: resource, value: value }
    rescue FFI::LostError
      return false if %i[extend_only_if_locked extend_only_if_life extend_life].any? { |name| options[name] }

      attempt(resource, ttl, token: value)
    rescue FFI::NoQuorumError => e
      raise LockAcquisitionError.new(resource, errors_of(e))
    rescue FFI::UnknownError
      false
    end

    def remaining(resource)
      inspection = @client.inspect_lock(resource)
      return unless inspection.held? && inspection.remaining && yield(inspection.token)

      ttl = (inspection.remaining * 1000).to_i
      ttl - (ttl * CLOCK_DRIFT_FACTOR).to_i - 2
    rescue FFI::NoQuorumError
      nil
    end

    def errors_of(error)
      failed = error.nodes.reject { |node| %i[done held not_mine not_awaited].include?(node.outcome) }
      failed.map { |node| FFI::Error.new("#{node.url}: #{node.text}", status: error.status, nodes: [node]) }
    end
  end
end
