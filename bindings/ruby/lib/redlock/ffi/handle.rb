# frozen_string_literal: true

module Redlock
  module FFI
    # One handle of the C library in one process, and the operations on it. Not part of the public interface.
    class Handle
      attr_reader :pid, :pointer

      # Frees a handle that became garbage, at the end of the process too. Leases that are still held are released.
      def self.release(pointer)
        C.close_now(pointer, 1, 0, nil)
        C.free(pointer)
      end

      def initialize(urls, options)
        @pid = Process.pid
        out = ::FFI::MemoryPointer.new(:pointer)
        texts = urls.map { |url| ::FFI::MemoryPointer.from_string(url) }
        array = ::FFI::MemoryPointer.new(:pointer, [texts.size, 1].max).write_array_of_pointer(texts)
        Handle.with_options(options) do |pointer|
          Handle.checked { |error| C.new(array, urls.size, pointer, out, error) }
        end
        @pointer = ::FFI::AutoPointer.new(out.read_pointer, Handle.method(:release))
        @loop = Loop.new(self)
      end

      # The event loop for fibers under a scheduler, nil for everybody else.
      def loop
        @loop if Fiber.scheduler && !Fiber.current.blocking?
      end

      # Calls with room for an error object; raises what a status other than OK stands for.
      def self.checked
        error = ::FFI::MemoryPointer.new(:pointer)
        status = yield error
        raise Error.for(status, error.read_pointer) unless status == C::OK
      ensure
        C.error_free(error.read_pointer) if error
      end

      # Repeats a call that waits for as long as something other than an exception ended the wait: a signal whose handler
      # returned, a wake-up. Where an exception ended it, it is raised inside.
      def self.uninterrupted
        status = yield
        status = yield while status == C::E_INTERRUPTED
        status
      end

      # What cannot be submitted runs in a thread, for which the fiber waits.
      def self.in_thread(&work)
        thread = Thread.new(&work)
        thread.report_on_exception = false
        thread.value
      ensure
        thread&.kill&.join if thread&.alive?
      end

      OPTIONS = {
        node_timeout: :seconds, stall_timeout: :seconds, connect_timeout: :seconds, retry_delay: :seconds,
        retry_jitter: :seconds, max_ttl: :seconds, retry_count: :count, drift_ppm: :number, spin_us: :number,
        restart_guard: { off: C::GUARD_OFF, seen: C::GUARD_SEEN, strict: C::GUARD_STRICT },
        protocol: { auto: C::PROTOCOL_AUTO, resp2: C::PROTOCOL_RESP2, resp3: C::PROTOCOL_RESP3 },
        wake: :flag, avoid_lua: :flag, tls_insecure: :flag, key_prefix: :bytes, tls_ca_file: :text,
        tls_cert_file: :text, tls_key_file: :text, username: :text, password: :text, client_name: :text
      }.freeze

      def self.with_options(options)
        pointer = C.options_new
        options.each do |name, value|
          kind = OPTIONS.fetch(name) { raise ArgumentError, "unknown option: #{name}" }
          status = set(pointer, name, kind, value)
          raise InvalidError.new("#{name} is out of its range: #{value.inspect}", status: status) unless status == C::OK
        end
        yield pointer
      ensure
        C.options_free(pointer) if pointer
      end

      def self.set(pointer, name, kind, value)
        case kind
        when :seconds then C.public_send(:"options_set_#{name}_ms", pointer, Seconds.to_ms(value))
        when :bytes then C.public_send(:"options_set_#{name}_bytes", pointer, *Bytes.pair(value))
        else C.public_send(:"options_set_#{name}", pointer, converted(kind, name, value))
        end
      end

      def self.converted(kind, name, value)
        case kind
        when :flag then value ? 1 : 0
        when :count then value.nil? || value == Float::INFINITY ? C::NO_LIMIT : Integer(value)
        when :number then Integer(value)
        when :text then value&.to_s
        else kind.fetch(value.to_sym) { raise ArgumentError, "#{name} is one of #{kind.keys.join(', ')}" }
        end
      end
      private_class_method :set, :converted
    end
    private_constant :Handle

    # Seconds as people write them, milliseconds as the library counts them.
    module Seconds
      LONGEST_MS = 1 << 53

      # A duration, rounded up.
      def self.to_ms(seconds)
        raise ArgumentError, "not a number of seconds: #{seconds.inspect}" unless duration?(seconds)

        value = seconds.to_f
        raise ArgumentError, "seconds must not be negative: #{seconds}" if value.negative? || value.nan?

        [(seconds * 1000).to_f.ceil, LONGEST_MS].min
      rescue FloatDomainError
        LONGEST_MS
      end

      # Numbers, and what counts as one: a duration of Active Support.
      def self.duration?(value)
        value.is_a?(Numeric) || (value.respond_to?(:to_f) && value.respond_to?(:*) && !value.is_a?(String))
      end
      private_class_method :duration?

      # How long to wait: nil and infinity are without limit.
      def self.to_wait_ms(seconds)
        seconds.nil? || seconds == Float::INFINITY ? C::NO_LIMIT : to_ms(seconds)
      end

      # What is left of a wait that began at +start+.
      def self.left(wait_ms, start)
        return wait_ms if wait_ms <= 0

        [wait_ms - Process.clock_gettime(Process::CLOCK_MONOTONIC, :millisecond) + start, 0].max
      end

      def self.now
        Process.clock_gettime(Process::CLOCK_MONOTONIC, :millisecond)
      end
    end
    private_constant :Seconds

    # Strings as pointer and length.
    module Bytes
      def self.pair(text)
        raise TypeError, "no implicit conversion of #{text.class} into String" unless text.respond_to?(:to_str) || text.is_a?(Symbol)

        text = text.to_s
        pointer = ::FFI::MemoryPointer.new(:char, [text.bytesize, 1].max)
        pointer.put_bytes(0, text)
        [pointer, text.bytesize]
      end
    end
    private_constant :Bytes
  end
end
