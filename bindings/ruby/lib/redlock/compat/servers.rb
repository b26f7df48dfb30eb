# frozen_string_literal: true

require "erb"

module Redlock
  # Servers as redlock-rb takes them, as URLs: a String, a Hash as for a Redis client, such a client, or a pool of clients.
  # Not part of the public interface.
  module Servers
    def self.url(server)
      case server
      when String then server
      when Hash then from_hash(server)
      else from_client(server)
      end
    end

    def self.from_hash(hash)
      hash = hash.transform_keys(&:to_sym)
      raise ArgumentError, "sentinels are not supported: name independent masters" if hash[:sentinels]
      return hash[:url] if hash[:url] && (hash.keys & %i[username password db]).empty?

      base = hash[:url] ? parts(hash[:url]) : {}
      build(base.merge(hash.compact))
    end

    def self.from_client(client)
      if client.respond_to?(:config)
        config = client.config
        return build(%i[host port path username password db ssl].to_h { |name| [name, value(config, name)] }.compact
                                                               .then { |hash| value(config, :ssl?) ? hash.merge(ssl: true) : hash })
      end
      return from_hash(client.connection_options) if client.respond_to?(:connection_options)
      return from_client(client._client) if client.respond_to?(:_client)
      return client.with { |inner| from_client(inner) } if client.respond_to?(:with)

      raise ArgumentError, "not a server: #{client.class}"
    end

    def self.value(config, name)
      config.public_send(name) if config.respond_to?(name)
    end

    def self.parts(url)
      scheme, rest = url.split("://", 2)
      login, address = rest.include?("@") ? rest.split(/@(?=[^@]*\z)/, 2) : [nil, rest]
      host_port, db = address.split("/", 2)
      host, port = host_port.match(/\A(\[.*\]|[^:]*)(?::(\d+))?\z/)&.captures
      username, password = login&.split(":", 2)
      { host: host, port: port, db: db, ssl: scheme == "rediss", username: decoded(username), password: decoded(password) }
        .reject { |_, part| part.nil? || part == "" }
    end

    def self.decoded(text)
      text&.gsub(/%(\h\h)/) { $1.hex.chr }
    end

    def self.build(hash)
      login = "#{escaped(hash[:username] == 'default' ? nil : hash[:username])}:#{escaped(hash[:password])}@" if hash[:password]
      return "unix://#{login}#{hash[:path]}#{"?db=#{hash[:db]}" if hash[:db].to_i.positive?}" if hash[:path]

      "#{hash[:ssl] ? 'rediss' : 'redis'}://#{login}#{hash[:host] || 'localhost'}:#{hash[:port] || 6379}" \
        "#{"/#{hash[:db]}" if hash[:db].to_i.positive?}"
    end

    def self.escaped(text)
      text && ERB::Util.url_encode(text)
    end
    private_class_method :from_hash, :from_client, :value, :parts, :decoded, :build, :escaped
  end
  private_constant :Servers
end
