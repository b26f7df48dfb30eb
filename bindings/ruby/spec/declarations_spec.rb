# frozen_string_literal: true

require "json"
require_relative "spec_helper"

# The declarations against the machine-readable description of the ABI.
RSpec.describe "Declarations of the C functions" do
  abi = JSON.parse(File.read(File.expand_path("../../../include/redlock.json", __dir__)))
  functions = abi["functions"].to_h { |function| [function["name"], function] }
  constants = abi["constants"].to_h { |constant| [constant["name"], constant["value"]] }
  aliases = abi["types"].reject { |type| type["kind"] == "opaque" }.to_h { |type| [type["name"], type["kind"]] }
  c = Redlock::FFI.module_eval("C", __FILE__, __LINE__)

  kind = lambda do |type|
    type = aliases.fetch(type, type)
    case type
    when "void" then FFI::Type::VOID
    when "const char *" then FFI::Type::STRING
    when /\*/ then FFI::Type::POINTER
    else FFI.find_type(type.delete_suffix("_t").to_sym == :size ? :size_t : type.delete_suffix("_t").to_sym)
    end
  end
  # A string may be passed as a pointer (tokens with their length); never anything else.
  same = ->(declared, described) { declared == described || (declared == FFI::Type::POINTER && described == FFI::Type::STRING) }

  c::SIGNATURES.merge(close_now: [%i[pointer int32 int64 pointer], :int32]).each do |name, (parameters, result, waits)|
    it "declare redlock_#{name} as it is" do
      described = functions.fetch("redlock_#{name == :close_now ? :close : name}")
      types = described["parameters"].map { |parameter| kind.call(parameter["type"]) }
      declared = parameters.map { |type| FFI.find_type(type) }
      expect(declared.size).to eq types.size
      expect(declared.zip(types)).to all(satisfy { |pair| same.call(*pair) })
      expect(same.call(FFI.find_type(result), kind.call(described["returns"]))).to be true
      # A function that waits is called without the GVL; with a timeout of 0, redlock_close does not.
      expect(waits ? true : false).to eq(described["waits"] != "never") unless name == :close_now
    end
  end

  it "have the constants of the header" do
    c::CONSTANTS.each { |name, value| expect([name, value]).to eq [name, constants.fetch("REDLOCK_#{name}")] }
  end

  it "know every error and every outcome of a node" do
    errors = constants.keys.grep(/\AREDLOCK_E_/) - %w[REDLOCK_E_INTERRUPTED]
    classes = errors.map { |name| Redlock::FFI::Error.for(constants[name]).class }
    expect(classes.uniq.size).to eq errors.size
    expect(classes).not_to include(Redlock::FFI::Error)
    outcomes = constants.keys.grep(/\AREDLOCK_NODE_/) - %w[REDLOCK_NODE_NONE]
    expect(outcomes.map { |name| Redlock::FFI::Error.outcome(constants[name]) })
      .to eq(outcomes.map { |name| name.delete_prefix("REDLOCK_NODE_").downcase.to_sym })
  end

  it "are of the library's version, and refuse another" do
    expect(Redlock::FFI.library_version).to eq abi["version"]
    expect([true, false]).to include(Redlock::FFI.tls?)
    script = 'require "redlock/ffi/version"; Redlock::FFI.send(:remove_const, :VERSION); Redlock::FFI::VERSION = "9.0.0"; ' \
             'begin; require "redlock/ffi"; rescue LoadError => e; puts e.message; end'
    expect(ruby("-e", script, &:read)).to match(/redlock-ffi 9\.0\.0 needs libredlock 9\.0, found #{abi['version']}/)
    expect(ruby({ "REDLOCK_LIBRARY" => "/nowhere/libredlock.so" }, "-e", 'begin; require "redlock/ffi"; rescue LoadError => e; puts e.message; end', &:read))
      .to include("/nowhere/libredlock.so")
  end
end
