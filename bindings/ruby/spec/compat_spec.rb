# frozen_string_literal: true

require_relative "spec_helper"
require "redlock/compat"

RSpec.describe Redlock::Client do
  let(:manager) { described_class.new(URLS) }
  let(:name) { fresh }

  it "locks and unlocks by its Hash" do
    info = manager.lock(name, 3_000)
    expect(info).to include(resource: name, validity: be_between(2_000, 3_000), value: be_a(String))
    expect(manager.lock(name, 3_000, retry_count: 0)).to be false
    expect(manager.valid_lock?(info)).to be_truthy
    expect(manager.locked?(name)).to be true
    manager.unlock(info)
    expect(manager.locked?(name)).to be false
  end

  it "yields in its block form and releases" do
    seen = nil
    expect(manager.lock(name, 3_000) { |info| seen = info }).to be true
    expect(seen[:resource]).to eq name
    expect(manager.locked?(name)).to be false
    expect(manager.lock!(name, 3_000) { :value }).to eq :value
  end

  it "raises LockError from lock! when the lock is held" do
    info = manager.lock(name, 3_000)
    expect { manager.lock!(name, 3_000, retry_count: 0) { raise "held" } }.to raise_error(Redlock::LockError)
    manager.unlock(info)
  end

  it "extends" do
    info = manager.lock(name, 1_000)
    extended = manager.lock(name, 9_000, extend: info)
    expect(extended[:validity]).to be > 5_000
    manager.unlock(extended)
  end
end
