# frozen_string_literal: true

module Redlock
  module FFI
    # A lock that was taken. Any thread may use it. A lease that becomes garbage is released, unless it was detached.
    class Lease
      RELEASE = lambda do |pointer|
        C.unlock_nowait(pointer)
        C.lease_free(pointer)
      end
      private_constant :RELEASE

      # The threads that wait for the end of a lease: a lease that is detached is freed when they have left.
      class Watch
        def initialize
          @mutex = Thread::Mutex.new
        end

        def use
          canceller = enter
          raise ClosedError.new("the lease was detached", status: C::E_CLOSED) unless canceller

          yield canceller
        ensure
          leave if canceller
        end

        def end
          @mutex.synchronize do
            @ended = true
            next unless @canceller

            C.canceller_cancel(@canceller)
            @left.wait(@mutex) while @count.positive?
          end
        end

        private

        def enter
          @mutex.synchronize do
            return if @ended

            @canceller ||= ::FFI::AutoPointer.new(C.canceller_new, C.method(:canceller_free))
            @left ||= Thread::ConditionVariable.new
            @count = @count.to_i + 1
            @canceller
          end
        end

        def leave
          @mutex.synchronize do
            @count -= 1
            @left.broadcast
          end
        end
      end
      private_constant :Watch

      # @return [String] what is locked
      attr_reader :resource
      # @return [Float] seconds for which it was asked
      attr_reader :ttl

      # @api private
      def initialize(handle, pointer, resource, ttl)
        @handle = handle
        @resource = resource
        @ttl = ttl
        @pid = handle.pid
        @pointer = ::FFI::AutoPointer.new(pointer, RELEASE)
        @watch = Watch.new
      end

      # @return [String] what makes the lock ours; another process can unlock by it: {Client#unlock_token}
      def token
        C.bytes(:lease_token, pointer)
      end

      # @return [Integer, nil] the fencing token, nil where none was asked for
      def fence
        number = C.lease_fence(pointer)
        number.zero? ? nil : number
      end

      # Seconds for which the lock is still ours, 0.0 when the lease has ended. No server is asked.
      # @return [Float]
      def remaining
        [C.lease_remaining_ms(pointer), 0].max / 1000.0
      end

      # @return [Integer] the number of nodes on which the lock is known to be ours
      def node_count_held
        C.lease_node_count_held(pointer)
      end

      # @return [Boolean] whether the lock is ours as far as is known
      def held?
        C.lease_state(pointer) == C::LEASE_HELD && C.lease_remaining_ms(pointer).positive?
      end

      # @return [Boolean] whether the lease ended without having been released
      def lost?
        state = C.lease_state(pointer)
        state == C::LEASE_LOST || (state == C::LEASE_HELD && !C.lease_remaining_ms(pointer).positive?)
      end

      # @return [Boolean] whether the lease was released
      def released?
        C.lease_state(pointer) == C::LEASE_RELEASED
      end

      # A checkpoint of long work. No server is asked.
      # @return [Float] {#remaining}
      # @raise [LostError] where the lease has ended
      def check!
        return remaining if held?

        raise LostError.new("the lease on #{resource.inspect} was #{released? ? 'released' : 'lost'}", status: C::E_LOST)
      end

      # Makes the lock last +ttl+ seconds from now on, where that is longer than what it has left.
      # @param ttl [Numeric] seconds
      # @raise [LostError] where the lease has ended; after any other error it goes on for {#remaining} seconds
      # @return [self]
      def extend(ttl = @ttl)
        ttl_ms = Seconds.to_ms(ttl)
        lease = pointer
        if (events = @handle.loop)
          events.run { |tag, error| C.submit_extend(lease, ttl_ms, tag, error) }
        else
          Handle.checked { |error| Handle.uninterrupted { C.extend(lease, ttl_ms, error) } }
        end
        self
      end

      # Releases the lock.
      # Waits for the node_timeout of the client at most; an exception from another thread is raised after that.
      # @raise [LostError] where it was not ours until now: somebody else may have had it meanwhile
      # @raise [NoQuorumError, UnknownError] where too few nodes confirmed it: the key goes as soon as they answer
      # @return [void]
      def unlock
        lease = pointer
        # So an exception that is pending is raised when the release is on its way, and not before.
        Thread.handle_interrupt(Object => :on_blocking) do
          return if C.lease_state(lease) == C::LEASE_RELEASED

          if (events = @handle.loop)
            events.run { |tag, error| C.submit_unlock(lease, tag, error) }
          else
            Handle.checked { |error| settled(C.unlock(lease, error), lease) }
          end
        end
        nil
      end

      # Releases the lock and does not wait for the nodes.
      # @return [void]
      def unlock_nowait
        C.unlock_nowait(pointer)
        nil
      end

      # Waits until the lease has ended, however that comes about, or +timeout+ seconds (nil: without limit) are over.
      # @return [Boolean] whether it has ended
      def wait_lost(timeout = nil)
        lease = pointer
        wait_ms = Seconds.to_wait_ms(timeout)
        return Handle.in_thread { wait_lost_blocking(lease, wait_ms) } if @handle.loop

        wait_lost_blocking(lease, wait_ms)
      end

      # Calls the block, in a thread of its own, as soon as the lease is lost; never after a release.
      # @yieldparam lease [Lease]
      # @return [self]
      def on_lost
        lease = pointer
        Thread.new do
          Thread.current.name = "redlock on_lost"
          yield self if wait_lost_blocking(lease, C::NO_LIMIT) && lost?
        rescue ClosedError
          nil
        end
        self
      end

      # Gives up the object and keeps the lock: it lasts until its time is over, or is released by token.
      # @return [Array(String, String)] the resource and the token
      def detach
        names = [resource, token]
        lease = @pointer
        lease.autorelease = false
        @pointer = nil
        @watch.end
        C.lease_free(lease)
        names
      end

      # @return [Boolean] whether this process has it and did not detach it
      def ours?
        @pid == Process.pid && !@pointer.nil?
      end

      # @return [String]
      def inspect
        return "#<#{self.class} #{resource.inspect} of process #{@pid}>" unless ours?

        state = released? ? "released" : "lost"
        "#<#{self.class} #{resource.inspect} #{held? ? format('%.3f s', remaining) : state}>"
      end

      # @api private
      def freeze
        raise TypeError, "a lease cannot be frozen, nor shared with another Ractor"
      end

      # @api private
      def initialize_copy(_other)
        raise TypeError, "a lease cannot be copied, nor moved to another Ractor"
      end

      private

      def pointer
        return @pointer if ours?
        raise ClosedError.new("the lease on #{resource.inspect} was detached", status: C::E_CLOSED) unless @pointer

        raise ForkedError.new("the lease on #{resource.inspect} belongs to process #{@pid}, not to this child of it",
                              status: C::E_FORKED)
      end

      # An interrupted release is on its way, and the lease has ended.
      def settled(status, lease)
        status == C::E_INTERRUPTED ? C.unlock_nowait(lease) : status
      end

      def wait_lost_blocking(lease, wait_ms)
        start = Seconds.now
        status = @watch.use do |canceller|
          Handle.uninterrupted { C.lease_wait_lost_cancellable(lease, Seconds.left(wait_ms, start), canceller) }
        end
        raise ClosedError.new("the lease was detached", status: C::E_CLOSED) if status == C::E_CANCELLED
        raise Error.for(status) unless [C::OK, C::E_LOST].include?(status)

        status == C::E_LOST
      end
    end
  end
end
