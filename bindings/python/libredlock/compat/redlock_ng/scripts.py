"""``redlock.scripts``: what a release and an extension do on one node, as Lua texts."""

#: Deletes ``KEYS[1]`` if its value is ``ARGV[1]``: 1 deleted, 0 absent or another's.
RELEASE_SCRIPT = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"

#: Sets the life of ``KEYS[1]`` to ``ARGV[2]`` ms if its value is ``ARGV[1]``: 1 ours, 0 absent or another's.
EXTEND_SCRIPT = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
