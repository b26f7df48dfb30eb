# frozen_string_literal: true

# How long a lock and its release take, by the C library and by this gem, on the same nodes:
#
#   tools/servers run 5 -- ruby -I bindings/ruby/lib bindings/ruby/benchmark.rb [--rounds N]
#
# The C program is made with cc, of include/redlock.h and the library in REDLOCK_LIBRARY or target/release.
require "tmpdir"

root = File.expand_path("../..", __dir__)
ENV["REDLOCK_LIBRARY"] ||= File.join(root, "target/release/libredlock.so")
require "redlock/ffi"

rounds = ARGV[0] == "--rounds" ? Integer(ARGV[1]) : 5_000
urls = ENV.fetch("REDLOCK_NODES").split(",")

C_PROGRAM = <<~C
  #include <redlock.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <time.h>
  int main(int argc, char **argv) {
      int rounds = atoi(argv[1]);
      redlock_t *rl = NULL;
      if (redlock_new((const char *const *)argv + 2, (size_t)argc - 2, NULL, &rl, NULL) != REDLOCK_OK) return 1;
      for (int i = -rounds / 10; i < rounds; i++) {
          struct timespec a, b;
          redlock_lease_t *lease = NULL;
          clock_gettime(CLOCK_MONOTONIC, &a);
          if (redlock_lock(rl, "benchmark-c", 10000, 5000, &lease, NULL) != REDLOCK_OK) return 1;
          redlock_unlock(lease, NULL);
          redlock_lease_free(lease);
          clock_gettime(CLOCK_MONOTONIC, &b);
          if (i >= 0) printf("%.3f\\n", (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3);
      }
      redlock_free(rl);
      return 0;
  }
C

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

def show(what, times)
  sorted = times.sort
  puts format("%-32s %5d us median, %5d us 99th percentile", what, sorted[sorted.size / 2], sorted[sorted.size * 99 / 100])
  sorted[sorted.size / 2]
end

def c_times(root, rounds, urls)
  Dir.mktmpdir do |directory|
    File.write("#{directory}/c.c", C_PROGRAM)
    library = ENV.fetch("REDLOCK_LIBRARY")
    system("cc", "-O2", "-I#{root}/include", "#{directory}/c.c", library, "-Wl,-rpath,#{File.dirname(library)}", "-o",
           "#{directory}/c", exception: true)
    IO.popen([{ "LD_LIBRARY_PATH" => File.dirname(library) }, "#{directory}/c", rounds.to_s, *urls], &:readlines).map(&:to_f)
  end
end

def ruby_times(client, rounds)
  (rounds / 10).times { client.lock!("benchmark-ruby", ttl: 10, wait: 5) {} }
  Array.new(rounds) do
    start = now
    client.lock!("benchmark-ruby", ttl: 10, wait: 5) {}
    (now - start) * 1e6
  end
end

# How far a thread counts in 0.3 seconds.
def counting
  count = 0
  deadline = now + 0.3
  count += 1 while now < deadline
  count
end

client = Redlock::FFI::Client.new(urls)
client.wait_ready
# In turn, so that the load of the machine meets both.
parts = [rounds / 10, 1].max
both = Array.new(10) { [c_times(root, parts, urls), ruby_times(client, parts)] }.transpose.map(&:flatten)
c = show("lock and unlock, C library", both[0])
gem = show("lock and unlock, this gem", both[1])
puts format("%-32s %5.2f", "ratio of the medians", gem / c)

# In turn as well; the best of each is what other programs disturbed least.
pairs = Array.new(5) do
  alone = counting
  client.lock!("benchmark-held", ttl: 60) do
    waiters = Array.new(16) { Thread.new { client.lock("benchmark-held", ttl: 60, wait: 60) {} } }
    sleep 0.1
    [alone, counting].tap { waiters.each(&:kill).each(&:join) }
  end
end
alone, beside = pairs.transpose.map(&:max)
puts format("%-32s %5d %% of counting alone", "counting while 16 threads wait", 100.0 * beside / alone)
