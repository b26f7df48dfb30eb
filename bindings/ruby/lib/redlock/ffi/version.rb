# frozen_string_literal: true

module Redlock
  module FFI
    # The version of this gem. The library must be of the same major and minor version or newer in the same major one.
    VERSION = "0.1.0"
  end
end
