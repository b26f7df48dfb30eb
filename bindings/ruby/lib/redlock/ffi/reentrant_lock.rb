# frozen_string_literal: true

module Redlock
  module FFI
    # A lock that its holder may take again: made by {Client#reentrant}. The holder is the thread, under a fiber scheduler the
    # fiber; others of the process wait for it as for another process.
    class ReentrantLock
      # @return [Lease, nil] the lease, where the caller holds the lock
      def lease
        @lease if mine?
      end

      # @api private
      def initialize(client, name, **request)
        @client = client
        @name = name
        @request = request
        @owner = nil
        @depth = 0
      end

      # Runs the block while the lock is held, and returns its value. Only the outermost call takes and releases the lock.
      # @yieldparam lease [Lease]
      # @raise [NotAcquiredError] where others hold it
      # @raise [LostError] where the lease has ended, also on entering an inner block
      def synchronize(&block)
        return inner(&block) if mine?

        @client.lock!(@name, **@request) do |lease|
          @owner = [Process.pid, caller_identity]
          @lease = lease
          @depth = 1
          block.call(lease)
        ensure
          @owner = @lease = nil
          @depth = 0
        end
      end

      # @return [Integer] how many blocks of the caller are inside
      def depth
        mine? ? @depth : 0
      end

      private

      def inner
        @lease.check!
        @depth += 1
        begin
          yield @lease
        ensure
          @depth -= 1
        end
      end

      def mine?
        owner = @owner
        !owner.nil? && owner[0] == Process.pid && owner[1].equal?(caller_identity)
      end

      def caller_identity
        Fiber.scheduler ? Fiber.current : Thread.current
      end
    end
  end
end
