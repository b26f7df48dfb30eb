# frozen_string_literal: true

module Redlock
  module FFI
    # What one node contributed. Times are seconds; remaining is nil where it is not known.
    NodeOutcome = Struct.new(:url, :outcome, :text, :elapsed, :remaining, keyword_init: true)

    # Every failure. +status+ is the number of the C library, +nodes+ what each node contributed.
    class Error < StandardError
      # @return [Integer] one of the REDLOCK_E_ values
      attr_reader :status
      # @return [Array<NodeOutcome>] in the order of the URLs; empty where no node was asked
      attr_reader :nodes

      def initialize(message = nil, status: 0, nodes: [])
        @status = status
        @nodes = nodes
        super(message)
      end
    end

    # Somebody else holds the lock, or it was granted too late.
    class NotAcquiredError < Error; end
    # Too many nodes failed to form a quorum.
    class NoQuorumError < Error; end
    # The lease has ended: expired, deleted, or never this token's. Stop the work that it protected.
    class LostError < Error; end
    # The operation was cancelled.
    class CancelledError < Error; end
    # An argument is out of its range.
    class InvalidError < Error; end
    # Requires operator intervention: a malformed URL, a wrong password, missing permissions.
    class ConfigError < Error; end
    # The lease belongs to the parent process.
    class ForkedError < Error; end
    # The request may or may not have been applied.
    class UnknownError < Error; end
    # The client was closed.
    class ClosedError < Error; end
    # A bug in libredlock.
    class InternalError < Error; end

    class Error
      CLASSES = {
        C::E_NOT_ACQUIRED => NotAcquiredError, C::E_NO_QUORUM => NoQuorumError, C::E_LOST => LostError,
        C::E_CANCELLED => CancelledError, C::E_INVALID => InvalidError, C::E_CONFIG => ConfigError,
        C::E_FORKED => ForkedError, C::E_UNKNOWN => UnknownError, C::E_CLOSED => ClosedError,
        C::E_INTERNAL => InternalError
      }.freeze
      OUTCOMES = C::CONSTANTS.select { |name, _| name.start_with?("NODE_") }
                             .to_h { |name, value| [value, name[5..].downcase.to_sym] }.freeze
      private_constant :CLASSES, :OUTCOMES

      class << self
        # @api private
        def outcome(number)
          OUTCOMES.fetch(number, :unknown)
        end

        # @api private
        def for(status, pointer = nil)
          pointer = nil if pointer&.null?
          text = pointer ? C.error_message(pointer) : C.status_text(status)
          CLASSES.fetch(status, Error).new(text.dup.force_encoding(Encoding::UTF_8), status: status,
                                                                                       nodes: pointer ? nodes_of(pointer) : [])
        end

        private

        def nodes_of(pointer)
          Array.new(C.error_node_count(pointer)) do |node|
            remaining = C.error_node_remaining_ms(pointer, node)
            NodeOutcome.new(url: C.error_node_url(pointer, node), outcome: outcome(C.error_node_outcome(pointer, node)),
                            text: C.error_node_text(pointer, node),
                            elapsed: C.error_node_elapsed_ms(pointer, node) / 1000.0,
                            remaining: remaining.negative? ? nil : remaining / 1000.0)
          end
        end
      end
    end
  end
end
