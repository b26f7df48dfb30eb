# frozen_string_literal: true

module Redlock
  module FFI
    # A description of a lock to be taken. Not part of the public interface.
    class Request
      NAMES = %i[fence auto_extend max_hold retries token report_remaining].freeze

      attr_reader :pointer, :resource, :ttl_ms

      def initialize(name, ttl_ms, options)
        unknown = options.keys - NAMES
        raise ArgumentError, "unknown keyword: #{unknown.join(', ')}" unless unknown.empty?

        @resource = name.to_s.dup.freeze
        @ttl_ms = ttl_ms
        bytes = Bytes.pair(name)
        @pointer = ::FFI::AutoPointer.new(C.request_new, C.method(:request_free))
        set(:resource_bytes, *bytes)
        set(:ttl_ms, ttl_ms)
        options.each { |option, value| set_option(option, value) unless value.nil? }
      end

      def set(name, *values)
        status = C.public_send(:"request_set_#{name}", @pointer, *values)
        raise InvalidError.new("#{name} is out of its range: #{values.last.inspect}", status: status) unless status == C::OK
      end

      def free
        @pointer.free
      end

      private

      def set_option(option, value)
        case option
        when :max_hold then set(:max_hold_ms, Seconds.to_ms(value))
        when :retries then set(:retries, Integer(value))
        when :token then set(:token_bytes, *Bytes.pair(value))
        else set(option, value ? 1 : 0)
        end
      end
    end
    private_constant :Request
  end
end
