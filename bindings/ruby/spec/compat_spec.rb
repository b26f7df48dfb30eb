# frozen_string_literal: true

require "ostruct"
require_relative "spec_helper"
require "redlock/compat"

RSpec.describe Redlock::Client do
  let(:manager) { described_class.new(URLS) }
  let(:other) { described_class.new(URLS, retry_count: 0) }
  let(:name) { fresh }

  after { described_class.testing_mode = nil }

  describe "#lock" do
    it "returns a Hash, or false where others hold the lock" do
      info = manager.lock(name, 3_000)
      expect(info).to match(resource: name, validity: be_between(2_000, 3_000), value: be_a(String))
      expect(other.lock(name, 3_000)).to be false
      manager.unlock(info)
      expect(other.lock(name, 3_000)).to be_a Hash
    end

    it "lasts until its time is over, whatever becomes of the Hash" do
      manager.lock(name, 600)
      GC.start
      expect(manager.locked?(name)).to be true
      eventually { !manager.locked?(name) }
    end

    it "yields in its block form, releases, and returns whether the lock was taken" do
      seen = nil
      expect(manager.lock(name, 3_000) { |info| seen = info }).to be true
      expect(seen[:resource]).to eq name
      expect(manager.locked?(name)).to be false
      expect { manager.lock(name, 3_000) { raise "inside" } }.to raise_error("inside")
      expect(manager.locked?(name)).to be false
      manager.lock(name, 3_000)
      expect(other.lock(name, 3_000) { |info| seen = info }).to be false
      expect(seen).to be false
    end

    it "tries retry_count + 1 times, with retry_delay as a number or as a Proc of the attempt" do
      manager.lock(name, 30_000)
      delays = []
      delay = ->(attempt) { delays << attempt; 1 }
      expect(described_class.new(URLS, retry_count: 2, retry_delay: delay, retry_jitter: 0).lock(name, 1_000)).to be false
      expect(delays).to eq [1, 2]
      expect(manager.lock(name, 1_000, retry_count: 4, retry_delay: delay, retry_jitter: 1)).to be false
      expect(delays).to eq [1, 2, 1, 2, 3, 4]
      expect(seconds { manager.lock(name, 1_000, retry_count: 2, retry_delay: 100, retry_jitter: 0) }).to be >= 0.2
    end

    it "gets a lock that is released meanwhile" do
      info = manager.lock(name, 30_000)
      thread = Thread.new { described_class.new(URLS).lock(name, 1_000, retry_count: 200, retry_delay: 10) }
      sleep 0.1
      manager.unlock(info)
      expect(thread.value).to be_a Hash
    end

    it "extends" do
      info = manager.lock(name, 1_000)
      extended = manager.lock(name, 9_000, extend: info)
      expect(extended).to match(resource: name, value: info[:value], validity: be_between(8_000, 9_000))
      expect(manager.get_remaining_ttl_for_lock(info)).to be > 5_000
      expect(manager.lock(name, 9_000, extend: extended) { |again| again[:value] }).to be true
      expect(manager.locked?(name)).to be false
    end

    it "takes a lock anew that is over, but not with extend_only_if_locked or its old names" do
      info = manager.lock(name, 1_000)
      manager.unlock(info)
      %i[extend_only_if_locked extend_only_if_life extend_life].each do |option|
        expect(manager.lock(name, 1_000, extend: info, option => true)).to be false
      end
      expect(manager.locked?(name)).to be false
      expect(manager.lock(name, 30_000, extend: info)).to include(value: info[:value])
      expect(manager.valid_lock?(info)).to be true
    end

    it "does not extend another's lock" do
      info = manager.lock(name, 30_000)
      foreign = info.merge(value: "another's")
      expect(manager.lock(name, 60_000, extend: foreign)).to be false
      expect(manager.lock(name, 60_000, extend: foreign, extend_only_if_locked: true)).to be false
      expect(manager.get_remaining_ttl_for_lock(info)).to be <= 30_000
    end
  end

  describe "#lock!" do
    it "returns the block's value" do
      expect(manager.lock!(name, 3_000) { :value }).to eq :value
      expect(manager.locked?(name)).to be false
    end

    it "raises LockError where the lock is held, and needs a block" do
      manager.lock(name, 30_000)
      expect { other.lock!(name, 3_000) { raise "held" } }
        .to raise_error(Redlock::LockError, "failed to acquire lock on '#{name}'")
      expect { manager.lock!(name, 3_000) }.to raise_error("No block passed")
    end
  end

  describe "#unlock" do
    it "releases only the lock of its Hash, and never raises" do
      info = manager.lock(name, 30_000)
      manager.unlock(info.merge(value: "another's"))
      expect(manager.locked?(name)).to be true
      manager.unlock(info)
      expect(manager.locked?(name)).to be false
      manager.unlock(info)
      expect { described_class.new(["redis://127.0.0.1:1"]).unlock(info) }.not_to raise_error
    end
  end

  describe "queries" do
    it "tell the remaining time of a lock and of a resource" do
      info = manager.lock(name, 30_000)
      foreign = info.merge(value: "another's")
      expect(manager.get_remaining_ttl_for_lock(info)).to be_between(20_000, 30_000)
      expect(manager.get_remaining_ttl_for_lock(foreign)).to be_nil
      expect(other.get_remaining_ttl_for_resource(name)).to be_between(20_000, 30_000)
      expect([manager.valid_lock?(info), manager.valid_lock?(foreign), other.locked?(name)]).to eq [true, false, true]
      manager.unlock(info)
      expect([manager.get_remaining_ttl_for_lock(info), manager.get_remaining_ttl_for_resource(name)]).to eq [nil, nil]
      expect([manager.valid_lock?(info), manager.locked?(name)]).to eq [false, false]
    end

    it "answer nil and false where too few nodes do" do
      nowhere = described_class.new(["redis://127.0.0.1:1"])
      expect([nowhere.get_remaining_ttl_for_resource(name), nowhere.locked?(name)]).to eq [nil, false]
    end
  end

  describe "errors" do
    it "are LockAcquisitionError with one error for each node that failed, in all calls that take or extend" do
      nowhere = described_class.new(["redis://127.0.0.1:1", "redis://127.0.0.1:2", URLS[0]], retry_count: 1, retry_delay: 1)
      [{}, { extend: { validity: 1, resource: name, value: "x" } }].each do |options|
        expect { nowhere.lock(name, 1_000, options) }.to raise_error(Redlock::LockAcquisitionError) { |error|
          expect(error).to be_a Redlock::LockError
          expect(error.errors.map(&:message)).to include(/127.0.0.1:1.*refused/, /127.0.0.1:2.*refused/)
        }
      end
      expect { nowhere.lock!(name, 1_000) { raise "held" } }.to raise_error(Redlock::LockAcquisitionError)
    end

    it "are not raised where a minority fails" do
      some = described_class.new(URLS.first(2) + ["redis://127.0.0.1:1"])
      expect(some.lock!(name, 3_000) { :two }).to eq :two
    end
  end

  describe "testing_mode" do
    it ":bypass grants every lock and asks no server" do
      described_class.testing_mode = :bypass
      nowhere = described_class.new(["redis://127.0.0.1:1"])
      info = nowhere.lock(name, 1_000)
      expect(info).to match(resource: name, validity: 1_000, value: be_a(String))
      expect(nowhere.lock(name, 1_000, extend: info)).to include(value: info[:value])
      expect(nowhere.lock!(name, 1_000) { :inside }).to eq :inside
      nowhere.unlock(info)
      expect(keys(name)).to eq 0
    end

    it ":fail grants none" do
      described_class.testing_mode = :fail
      expect(manager.lock(name, 1_000)).to be false
      expect { manager.lock!(name, 1_000) { raise "held" } }.to raise_error(Redlock::LockError)
      described_class.testing_mode = nil
      expect(manager.lock(name, 1_000)).to be_a Hash
    end

    it "is set for one client, before that of the class" do
      manager.testing_mode = :fail
      expect(manager.lock(name, 1_000)).to be false
      expect(other.lock(name, 1_000)).to be_a Hash
      expect([manager.testing_mode, other.testing_mode, described_class.testing_mode]).to eq [:fail, nil, nil]
    end

    it "is there after require \"redlock/testing\" as well" do
      expect(ruby("-e", 'require "redlock/testing"; Redlock::Client.testing_mode = :bypass; p Redlock::Client.testing_mode', &:read))
        .to eq ":bypass\n"
    end
  end

  describe "servers" do
    def taken_on(*servers)
      described_class.new(servers).lock!(name, 3_000) { keys(name) }
    end

    let(:ports) { URLS.map { |url| url[/\d+\z/] } }

    it "are URLs" do
      expect(taken_on(*URLS)).to be >= 3
      expect(taken_on("#{URLS[0]}/0")).to eq 1
    end

    it "are hashes as for a Redis client, with names as Symbols or Strings" do
      expect(taken_on({ host: "127.0.0.1", port: ports[0] })).to eq 1
      expect(taken_on({ "host" => "127.0.0.1", "port" => ports[0].to_i, "db" => 0 })).to eq 1
      expect(taken_on({ url: URLS[0] })).to eq 1
      expect(taken_on({ url: URLS[0], db: 3 })).to eq 0
      expect { described_class.new([{ sentinels: [{ host: "x" }], name: "m" }]) }.to raise_error(ArgumentError, /sentinels/)
    end

    it "are clients of redis-client and redis-rb, wrapped or in a pool" do
      config = OpenStruct.new(host: "127.0.0.1", port: ports[0].to_i, db: 0, username: "default", password: nil, ssl?: false)
      redis_client = Struct.new(:config).new(config)
      redis = Struct.new(:_client).new(redis_client)
      old = Struct.new(:connection_options).new({ host: "127.0.0.1", port: ports[0], db: 0 })
      pool = Object.new.tap { |object| object.define_singleton_method(:with) { |&block| block.call(redis) } }
      [redis_client, redis, old, pool].each { |server| expect(taken_on(server)).to eq 1 }
      expect { described_class.new([Object.new]) }.to raise_error(ArgumentError, "not a server: Object")
    end

    it "keep their passwords, whatever is in them" do
      server = Server.new
      Helpers.ask(server.url, "CONFIG", "SET", "requirepass", "p@ss:w/rd %")
      servers = [{ host: "127.0.0.1", port: server.port, password: "p@ss:w/rd %" },
                 { url: server.url, password: "p@ss:w/rd %" },
                 "redis://:p%40ss%3Aw%2Frd%20%25@127.0.0.1:#{server.port}"]
      servers.each { |choice| expect(described_class.new([choice]).lock(fresh, 1_000)).to be_a Hash }
    ensure
      server&.kill
    end
  end

  describe "defaults" do
    it "are those of redlock-rb" do
      expect(described_class::DEFAULT_REDIS_URLS).to eq ["redis://localhost:6379"]
      expect([described_class::DEFAULT_REDIS_HOST, described_class::DEFAULT_REDIS_PORT, described_class::DEFAULT_REDIS_TIMEOUT,
              described_class::DEFAULT_RETRY_COUNT, described_class::DEFAULT_RETRY_DELAY, described_class::DEFAULT_RETRY_JITTER,
              described_class::CLOCK_DRIFT_FACTOR]).to eq ["localhost", "6379", 0.1, 3, 200, 50, 0.01]
      expect(described_class.default_time_source.call).to be_a Integer
    end

    it "follow the environment" do
      host, port = URLS[0].delete_prefix("redis://").split(":")
      script = "require 'redlock/compat'; puts Redlock::Client::DEFAULT_REDIS_URLS; p Redlock::Client.new.lock!('#{name}', 1_000) { 7 }"
      expect(ruby({ "DEFAULT_REDIS_HOST" => host, "DEFAULT_REDIS_PORT" => port }, "-e", script, &:read)).to eq "#{URLS[0]}\n7\n"
    end

    it "take redis_timeout and time_source" do
      slow = described_class.new(URLS, redis_timeout: 0.2, retry_count: 0)
      expect(slow.lock(name, 1_000)).to be_a Hash
      stopping(3) { expect { slow.lock(fresh, 1_000) }.to raise_error(Redlock::LockAcquisitionError) }
      times = [0, 500]
      timed = described_class.new(URLS, time_source: -> { times.shift })
      info = timed.lock(fresh, 10_000)
      expect(timed.lock(info[:resource], 10_000, extend: info)[:validity]).to eq 10_000 - 500 - 100 - 2
    end
  end
end
