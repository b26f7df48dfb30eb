# frozen_string_literal: true

# As with redlock-rb: Redlock::Client.testing_mode for tests.
require_relative "compat"
