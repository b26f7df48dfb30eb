# frozen_string_literal: true

require_relative "ffi"
require_relative "compat/errors"
require_relative "compat/servers"
require_relative "compat/client"
