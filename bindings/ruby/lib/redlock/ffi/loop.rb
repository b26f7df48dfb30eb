# frozen_string_literal: true

module Redlock
  module FFI
    # Waits of fibers under a scheduler: operations are submitted, and one fiber for each scheduler watches the descriptor
    # of the handle for all of them. Not part of the public interface.
    class Loop
      # How long a watching fiber may sleep after another thread has fetched its last event, in seconds.
      RECHECK = 0.5

      # An operation that was submitted. An abandoned one has no fiber waiting for it any more.
      class Operation
        attr_reader :queue, :scheduler
        attr_accessor :status, :error, :lease, :inspection, :abandoned

        def initialize(scheduler)
          @scheduler = scheduler
          @queue = Thread::Queue.new
        end

        def take(event)
          status = C.event_status(event)
          if status == C::OK
            @lease = C.event_take_lease(event)
            @inspection = C.event_take_inspection(event)
          else
            error = C.event_take_error(event)
            @error = Error.for(status, error)
            C.error_free(error)
          end
          @status = status
        end

        # Frees a result that nobody fetches.
        def discard
          C.unlock_nowait(@lease) if @lease
          C.lease_free(@lease) if @lease
          C.inspection_free(@inspection) if @inspection
        end
      end

      def initialize(handle)
        @pointer = handle.pointer
        @operations = {}
        @watching = {}.compare_by_identity
        @next_tag = 0
        @mutex = Thread::Mutex.new
      end

      # Submits by the block, which is given the tag and a place for an error; returns the operation when it has ended.
      def run(cancellable: false)
        operation = Operation.new(Fiber.scheduler)
        tag = nil
        Thread.handle_interrupt(Object => :on_blocking) do
          tag = @mutex.synchronize { @operations[@next_tag += 1] = operation; @next_tag }
          submit(tag) { |error| yield tag, error }
          watch(operation.scheduler)
        end
        operation.queue.pop
        raise operation.error if operation.error

        fetched = true
        operation
      ensure
        abandon(tag, operation, cancellable) if tag && !fetched
      end

      private

      def submit(tag, &block)
        submitted = false
        Handle.checked(&block)
        submitted = true
      ensure
        @mutex.synchronize { @operations.delete(tag) } unless submitted
      end

      # The fiber was stopped, or gets an error. What the operation brought, or still brings, is released.
      def abandon(tag, operation, cancellable)
        ended = @mutex.synchronize do
          operation.abandoned = true
          operation.status
        end
        return operation.discard if ended

        C.cancel(@pointer, tag) if cancellable
        C.process(@pointer)
      end

      def watch(scheduler)
        return if @mutex.synchronize { @watching[scheduler] || (@watching[scheduler] = true) && false }

        Fiber.schedule do
          @io ||= IO.for_fd(C.fd(@pointer), autoclose: false)
          @io.wait_readable(RECHECK) while advance && pending?(scheduler)
        ensure
          @mutex.synchronize { @watching.delete(scheduler) }
        end
      end

      def pending?(scheduler)
        @mutex.synchronize do
          @operations.each_value.any? { |operation| operation.scheduler.equal?(scheduler) } ||
            (@watching.delete(scheduler) && false)
        end
      end

      def advance
        status = C.process(@pointer)
        until (event = C.next_event(@pointer)).null?
          begin
            finish(event) if C.event_kind(event) == C::EVENT_DONE
          ensure
            C.event_free(event)
          end
        end
        return true if status == C::OK

        fail_all(status)
        false
      end

      def finish(event)
        operation = @mutex.synchronize { @operations.delete(C.event_tag(event)) }
        return if operation.nil?

        @mutex.synchronize { operation.take(event) unless operation.abandoned }
        operation.queue << true
      end

      # No event comes any more: what waits ends with the status of the handle.
      def fail_all(status)
        @mutex.synchronize { @operations.values.tap { @operations.clear } }.each do |operation|
          operation.status = status
          operation.error = Error.for(status)
          operation.queue << true
        end
      end
    end
    private_constant :Loop
  end
end
