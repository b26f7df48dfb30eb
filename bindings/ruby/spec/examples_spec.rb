# frozen_string_literal: true

require_relative "spec_helper"

RSpec.describe "Examples" do
  root = File.expand_path("..", __dir__)
  expected = {
    "guard_a_job.rb" => /\Ajob runs with token \h{8}\.\.\.\njob done\n\z/,
    "wait_with_deadline.rb" => /\A.*\nnode 1: held\norder shipped\n\z/,
    "long_work.rb" => /\A(step \d written with fence true\n){5}report done\n\z/
  }

  it "are all here" do
    expect(Dir.children(File.join(root, "examples"))).to match_array expected.keys
  end

  expected.each do |file, output|
    it "run: #{file}" do
      expect(Timeout.timeout(30) { ruby(File.join(root, "examples", file), &:read) }).to match output
      expect($?).to be_success
    end
  end

  # The three stories of the README are one program, with these as what they call.
  it "of the README run as they are printed" do
    blocks = File.read(File.join(root, "README.md")).scan(/^```ruby\n(.*?)^```/m).flatten
    expect(blocks.size).to be >= 4
    stories = blocks.join("\n").gsub(/%w\[redis:[^\]]*\]/, 'ENV.fetch("REDLOCK_NODES").split(",")')
    script = <<~RUBY
      def run_job = puts("job")
      def ship = puts("ship")
      def stop = puts("stop")
      def write(step, fence) = puts("\#{step} \#{fence.positive?}")
      steps = [1, 2]
      #{stories}
    RUBY
    expect(Timeout.timeout(30) { ruby("-e", script, &:read) }).to eq "job\nship\n1 true\n2 true\nlegacy\n"
    expect($?).to be_success
  end

  it "of the benchmark run" do
    output = Timeout.timeout(60) { ruby(File.join(root, "benchmark.rb"), "--rounds", "50", &:read) }
    expect($?).to be_success
    expect(output).to match(/^lock and unlock, C library +\d+ us/).and match(/^lock and unlock, this gem +\d+ us/)
    expect(output).to match(/^counting while 16 threads wait +\d+ %/)
  end
end
