//! The Lua texts. They go out whole with every `EVAL`: no `NOSCRIPT` path exists, and the server keeps the compiled
//! script by its hash anyway. They are one line each because they travel with every request.

/// Deletes `KEYS[1]` if its value is `ARGV[1]`: 1 deleted, 0 absent or another's
/// (Redis, "Distributed Locks with Redis", the script under "Correct Implementation with a Single Instance").
pub const RELEASE: &str = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";

/// Lengthens the life of `KEYS[1]` to `ARGV[2]` ms if its value is `ARGV[1]`: 1 ours, 0 absent or another's.
///
/// A key of ours that lives longer, or for ever (`PTTL` −1), keeps its life: it is ours for at least `ARGV[2]` ms,
/// which is all that the answer 1 promises. Never downward, because a shorter life whose reply is lost ends the lease
/// at the server while the holder still counts on the longer one.
pub const EXTEND: &str = "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end \
     local left=redis.call('PTTL',KEYS[1]) \
     if left>=0 and left<tonumber(ARGV[2]) then redis.call('PEXPIRE',KEYS[1],ARGV[2]) end \
     return 1";
