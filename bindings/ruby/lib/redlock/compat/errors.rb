# frozen_string_literal: true

module Redlock
  # The lock was not acquired.
  class LockError < StandardError
    def initialize(resource)
      super("failed to acquire lock on '#{resource}'")
    end
  end

  # Too many nodes failed. +errors+ has one error for each of them.
  class LockAcquisitionError < LockError
    # @return [Array<FFI::Error>]
    attr_reader :errors

    def initialize(resource, errors)
      super(resource)
      @errors = errors
    end
  end
end
