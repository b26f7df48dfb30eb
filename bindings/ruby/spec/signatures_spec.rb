# frozen_string_literal: true

require "rbs"
require_relative "spec_helper"
require "redlock/compat"

# sig/ and the comments, against the classes as they are.
RSpec.describe "Signatures" do
  sig = File.expand_path("../sig", __dir__)
  loader = RBS::EnvironmentLoader.new.tap { |inner| inner.add(path: Pathname(sig)) }
  environment = RBS::Environment.from_loader(loader).resolve_type_names
  builder = RBS::DefinitionBuilder.new(env: environment)
  type_name = ->(klass) { RBS::TypeName.new(name: klass.name.split("::").last.to_sym, namespace: RBS::Namespace.parse("::#{klass.name}").parent) }

  # The comment above a method; empty for one that Ruby made.
  comment = lambda do |method|
    file, line = method.source_location
    next "" unless file

    File.readlines(file).first(line - 1).reverse.take_while { |text| text.strip.start_with?("#") }.reverse.join
  end
  modules = ->(base) { base.constants.map { |name| base.const_get(name) }.grep(Module) }
  classes = (modules.call(Redlock) + modules.call(Redlock::FFI)).grep(Class).uniq
  published = lambda do |methods|
    methods.reject { |method| comment.call(method).include?("@api private") }
  end

  classes.each do |klass|

    it "has each public method of #{klass}, and no other" do
      definition = builder.build_instance(type_name.call(klass))
      singleton = builder.build_singleton(type_name.call(klass))
      own = ->(inner) { inner.methods.select { |_, method| method.implemented_in == type_name.call(klass) && method.public? }.keys }
      real = published.call(klass.public_instance_methods(false).map { |name| klass.instance_method(name) }).map(&:name)
      real = real.reject { |name| name.end_with?("=") } if klass < Struct
      expect(own.call(definition) - [:initialize]).to match_array(real)
      made = published.call(klass.singleton_methods(false).map { |name| klass.method(name) }).map(&:name)
      made -= %i[new [] inspect members keyword_init?] if klass < Struct
      expect(own.call(singleton) - [:new]).to match_array(made)
    end

    it "has the parameters of #{klass}'s methods" do
      builder.build_instance(type_name.call(klass)).methods.each do |name, method|
        next unless method.implemented_in == type_name.call(klass)

        parameters = klass.instance_method(name).parameters
        next if klass < Struct || klass.instance_method(name).source_location.nil?

        method.method_types.each do |type|
          function = type.type
          expect([name, function.required_positionals.size]).to eq [name, parameters.count { |kind, _| kind == :req }]
          expect([name, function.optional_positionals.size]).to eq [name, parameters.count { |kind, _| kind == :opt }]
          named = parameters.filter_map { |kind, word| word if %i[key keyreq].include?(kind) }
          words = function.optional_keywords.keys + function.required_keywords.keys
          expect(parameters.any? { |kind, _| kind == :keyrest } ? named - words : named.sort - words.sort).to eq []
        end
      end
    end

    it "comes with a comment on each public method of #{klass}" do
      methods = klass.public_instance_methods(false).map { |name| klass.instance_method(name) } +
                klass.singleton_methods(false).map { |name| klass.method(name) }
      bare = methods.select { |method| method.source_location && comment.call(method).empty? }
      expect(bare.map { |method| "#{klass}: #{method.name}" }).to eq []
    end
  end

  it "name the options and keywords that there are" do
    options = builder.build_instance(type_name.call(Redlock::FFI::Client)).methods
    keywords = ->(name) { options[name].method_types.first.type.optional_keywords.keys }
    handle = Redlock::FFI.module_eval("Handle", __FILE__, __LINE__)
    request = Redlock::FFI.module_eval("Request", __FILE__, __LINE__)
    expect(keywords.call(:initialize)).to match_array(handle::OPTIONS.keys)
    expect(keywords.call(:lock)).to match_array(request::NAMES + %i[ttl wait])
    expect(keywords.call(:try_lock)).to match_array(request::NAMES + %i[ttl])
  end

  it "describe the functions of the module" do
    singleton = builder.build_singleton(RBS::TypeName.new(name: :FFI, namespace: RBS::Namespace.parse("::Redlock")))
    expect(singleton.methods.keys).to include(*Redlock::FFI.singleton_methods(false))
  end
end
