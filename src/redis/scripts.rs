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

/// Sets `KEYS[1]` to `ARGV[1]` for `ARGV[2]` ms if it is free, and counts: `KEYS[2]` becomes `ARGV[3]` or grows by
/// one, whichever is more; where it is missing or no number, it becomes the time in microseconds, if that is more than
/// `ARGV[3]`. It then lives for `ARGV[4]` ms; one that was above `ARGV[5]` keeps the life that it has, for nobody will
/// believe it. Answers the counter and the time, nil if the key is not free.
///
/// All that is read is read before anything is written, and both writes are the same command on keys that were
/// declared: an error that names what is missing (a right, memory, a master) leaves nothing applied. Numbers are
/// written by `%.0f`, for Lua's own form of a double has 14 digits. What such a script writes depends on the time and
/// is replicated as it was written (effects replication, the only kind since Redis 7 and the default since 5).
pub const SET_FENCED: &str = "local c=redis.call('GET',KEYS[2]) \
     local t=redis.call('TIME') t=t[1]*1000000+t[2] \
     local n=c and string.match(c,'^%d+$') and tonumber(c) \
     local l=n and n>tonumber(ARGV[5]) and redis.call('PTTL',KEYS[2]) or -1 \
     if not redis.call('SET',KEYS[1],ARGV[1],'NX','PX',ARGV[2]) then return false end \
     if l<0 then l=ARGV[4] elseif l<1 then l=1 end \
     c=string.format('%.0f',math.max(n and n+1 or t,tonumber(ARGV[3]))) \
     redis.call('SET',KEYS[2],c,'PX',l) \
     return c..' '..string.format('%.0f',t)";

/// [`EXTEND`] that also raises the counter `KEYS[2]` to `ARGV[3]`, unless it is more already, and gives it `ARGV[4]` ms
/// to live. 1 therefore promises both.
pub const EXTEND_FENCED: &str = "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end \
     local left=redis.call('PTTL',KEYS[1]) \
     local c=redis.call('GET',KEYS[2]) \
     c=c and string.match(c,'^%d+$') and tonumber(c) or 0 \
     redis.call('SET',KEYS[2],string.format('%.0f',math.max(c,tonumber(ARGV[3]))),'PX',ARGV[4]) \
     if left>=0 and left<tonumber(ARGV[2]) then redis.call('PEXPIRE',KEYS[1],ARGV[2]) end \
     return 1";
