# frozen_string_literal: true

module Redlock
  module FFI
    # Locks on one set of nodes. One client per process is enough for all its threads and fibers; it may be made before
    # fork: a child makes connections of its own at its first call.
    class Client
      # @param urls [Array<String>] 1 to 15 of `redis://[user:password@]host[:port][/db]`, `rediss://…`, `unix:///path`
      # @param options times in seconds: node_timeout, stall_timeout, connect_timeout, retry_delay, retry_jitter, max_ttl;
      #   retry_count (nil: without limit), drift_ppm, spin_us, restart_guard (:off, :seen, :strict), protocol (:auto, :resp2,
      #   :resp3), wake, avoid_lua, tls_insecure, key_prefix, tls_ca_file, tls_cert_file, tls_key_file, username, password,
      #   client_name
      # @raise [ConfigError] for a malformed URL
      # @raise [InvalidError] for a value out of its range
      def initialize(urls, **options)
        unless Ractor.current == Ractor.main
          raise Error, "libredlock is used in the main Ractor only: Ruby's ffi does not work in others"
        end

        @urls = Array(urls).map { |url| url.to_str.dup.freeze }.freeze
        @options = options.freeze
        @mutex = Thread::Mutex.new
        @closed = false
        @handle = Handle.new(@urls, @options)
      end

      # Takes the lock, runs the block and releases the lock. Without a block, returns the lease.
      #
      # @param name [String] what is locked, any bytes
      # @param ttl [Numeric] seconds that the lock lasts unless it is extended
      # @param wait [Numeric, nil] seconds to wait while others hold it: 0 makes one attempt, nil waits without limit
      # @param fence [Boolean] a fencing token comes with the lease: {Lease#fence}
      # @param auto_extend [Boolean] the lease extends itself until it is released, lost or held for max_hold seconds
      # @param max_hold [Numeric, nil] seconds
      # @param retries [Integer, nil] how often a failed attempt is repeated within +wait+
      # @param token [String, nil] a token of one's own
      # @param report_remaining [Boolean] an error tells for how long others hold the lock, at the price of a round trip
      # @yieldparam lease [Lease]
      # @return the block's value, else the {Lease}; nil where others hold the lock: the block is not run
      # @raise [LostError] at the end of the block where the lease was lost during it
      # @raise [NoQuorumError] where too few nodes answered
      # @raise [ConfigError] where too many nodes fail permanently, by a wrong password for instance
      # @raise [InvalidError, ArgumentError] for a value out of its range
      # @raise [ClosedError] where the client was closed
      def lock(name, ttl: 10, wait: 5, **request, &block)
        obtain(name, ttl, wait, request, nil, &block)
      end

      # {#lock} that raises where others hold the lock.
      # @raise [NotAcquiredError]
      def lock!(name, ttl: 10, wait: 5, **request, &block)
        obtain(name, ttl, wait, request, NotAcquiredError, &block)
      end

      # {#lock} that makes one attempt, and takes no +wait+.
      # @return the block's value, else the {Lease}; nil where others hold the lock
      # @raise [LostError, NoQuorumError] as {#lock}
      def try_lock(name, ttl: 10, **request, &block)
        lock(name, ttl: ttl, wait: 0, **request, &block)
      end

      # A lock that the thread (under a fiber scheduler: the fiber) which holds it may take again.
      # @param ttl [Numeric] seconds, as all that {#lock} takes
      # @return [ReentrantLock]
      def reentrant(name, ttl: 10, wait: 5, **request)
        ReentrantLock.new(self, name, ttl: ttl, wait: wait, **request)
      end

      # Releases a lock by what its holder told of it.
      # @param token [String] {Lease#token}
      # @raise [LostError] where it was not this token's
      # @raise [UnknownError] where too few nodes confirmed it
      # @return [void]
      def unlock_token(name, token)
        name_and_token = [*Bytes.pair(name), *Bytes.pair(token)]
        call_by_token(:unlock_token_bytes, name_and_token)
      end

      # Makes a lock last +ttl+ seconds from now on, by what its holder told of it.
      # @raise [LostError] where it was not this token's
      # @return [void]
      def extend_token(name, token, ttl)
        call_by_token(:extend_token_bytes, [*Bytes.pair(name), *Bytes.pair(token), Seconds.to_ms(ttl)])
      end

      # Asks all nodes who holds a lock. Never act on the answer in place of a lock.
      # @return [Inspection]
      # @raise [NoQuorumError] where too few nodes answered
      def inspect_lock(name)
        pointer = handle.pointer
        bytes = Bytes.pair(name)
        if (events = handle.loop)
          return Inspection.read(events.run { |tag, error| C.submit_inspect_bytes(pointer, *bytes, tag, error) }.inspection)
        end

        out = ::FFI::MemoryPointer.new(:pointer)
        Handle.checked { |error| Handle.uninterrupted { C.inspect_bytes(pointer, *bytes, out, error) } }
        Inspection.read(out.read_pointer)
      end

      # @return [Boolean] whether anybody held the lock just now
      # @raise [NoQuorumError] where too few nodes answered
      def locked?(name)
        inspect_lock(name).held?
      end

      # Counters since the handle of this process was made. No server is asked.
      # @return [Stats]
      def stats
        out = ::FFI::MemoryPointer.new(:pointer)
        Handle.checked { |error| C.stats(handle.pointer, out, error) }
        Stats.read(out.read_pointer)
      end

      # Waits until a quorum of nodes is ready. Calling it is optional.
      # @raise [NoQuorumError] after +timeout+ seconds (nil: without limit)
      # @raise [ConfigError] where too many nodes fail permanently
      # @return [self]
      def wait_ready(timeout = 5)
        pointer = handle.pointer
        wait_ms = Seconds.to_wait_ms(timeout)
        work = lambda do
          start = Seconds.now
          Handle.checked { |error| Handle.uninterrupted { C.wait_ready(pointer, Seconds.left(wait_ms, start), error) } }
        end
        handle.loop ? Handle.in_thread(&work) : work.call
        self
      end

      # Ends calls in progress; later ones raise {ClosedError}.
      # @param release [Boolean] whether leases that are held are released
      # @param timeout [Numeric, nil] seconds to wait for confirmations
      # @raise [UnknownError] where some are missing then
      # @return [void]
      def close(release: true, timeout: 1)
        return if @closed

        @closed = true
        return unless @handle.pid == Process.pid

        pointer = @handle.pointer
        wait_ms = Seconds.to_wait_ms(timeout)
        Handle.checked { |error| Handle.uninterrupted { C.close(pointer, release ? 1 : 0, wait_ms, error) } }
        nil
      end

      # @return [Array<String>] the URLs of the nodes, without user names and passwords
      def nodes
        pointer = handle.pointer
        Array.new(C.node_count(pointer)) { |node| C.node_url(pointer, node) }
      end

      # @return [String]
      def inspect
        "#<#{self.class} of #{@urls.size} nodes#{' closed' if @closed}>"
      end

      # @api private
      def freeze
        raise TypeError, "a client cannot be frozen, nor shared with another Ractor"
      end

      # @api private
      def initialize_copy(_other)
        raise TypeError, "a client cannot be copied, nor moved to another Ractor"
      end

      private

      # The handle of this process.
      def handle
        raise ClosedError.new("the client was closed", status: C::E_CLOSED) if @closed
        return @handle if @handle.pid == Process.pid

        @mutex.synchronize do
          @handle = Handle.new(@urls, @options) unless @handle.pid == Process.pid
          @handle
        end
      end

      # Whatever exception arrives, and whenever: a lease that was taken is in +slot+ then, and does not keep its key.
      def obtain(name, ttl, wait, request, refusal)
        slot = []
        begin
          acquire(name, ttl, wait, request, slot)
        rescue NotAcquiredError
          raise if refusal

          return nil
        end
        unless block_given?
          kept = true
          return slot[0]
        end
        result = yield slot[0]
        ended = true
        result
      ensure
        finish(slot[0], ended) if slot&.first && !kept
      end

      # The end of a block. Where an exception ends it, a second one about the lock would hide the first.
      def finish(lease, ended)
        Thread.handle_interrupt(Object => :on_blocking) { lease.unlock if lease.ours? }
      rescue Error
        raise if ended
      end

      def acquire(name, ttl, wait, options, slot)
        wait_ms = Seconds.to_wait_ms(wait)
        handle = self.handle
        request = Request.new(name, Seconds.to_ms(ttl), options)
        if (events = handle.loop)
          return Handle.in_thread { acquire_blocking(handle, request, wait_ms, slot) } if options[:auto_extend]

          request.set(:wait_ms, wait_ms)
          request.set(:watch, 0)
          operation = events.run(cancellable: true) do |tag, error|
            request.set(:tag, tag)
            C.submit_lock(handle.pointer, request.pointer, error)
          end
          slot << Lease.new(handle, operation.lease, request.resource, ttl.to_f)
        else
          acquire_blocking(handle, request, wait_ms, slot)
        end
      ensure
        request&.free
      end

      # An exception from another thread ends the waiting call, and is raised inside it even where the call has just
      # succeeded. So its result is read in `ensure`, with exceptions put off until then.
      def acquire_blocking(handle, request, wait_ms, slot)
        start = Seconds.now
        out = ::FFI::MemoryPointer.new(:pointer)
        Thread.handle_interrupt(Object => :on_blocking) do
          Handle.checked do |error|
            Handle.uninterrupted do
              request.set(:wait_ms, Seconds.left(wait_ms, start))
              C.lock_request(handle.pointer, request.pointer, out, error)
            end
          end
        ensure
          lease = out.read_pointer
          slot << Lease.new(handle, lease, request.resource, request.ttl_ms / 1000.0) unless lease.null?
        end
      end

      def call_by_token(function, arguments)
        pointer = handle.pointer
        if (events = handle.loop)
          events.run { |tag, error| C.public_send(:"submit_#{function}", pointer, *arguments, tag, error) }
        else
          Handle.checked { |error| Handle.uninterrupted { C.public_send(function, pointer, *arguments, error) } }
        end
        nil
      end
    end
  end
end
