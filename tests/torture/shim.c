/* LD_PRELOAD: lets the n-th call of its kind that libredlock.so makes fail, and knows every block that it has allocated.
 * What the test program or the C library calls for itself is passed on. shim.h says how it is told. */
#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

static uintptr_t text_begin, text_end;
static struct shim_plan plan = { .kind = SHIM_KINDS };
static _Atomic unsigned long seen[SHIM_KINDS];
static _Atomic unsigned long struck;
static atomic_bool armed;

static int find_library(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    (void)argument;
    if (strstr(info->dlpi_name, "libredlock.so") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
            text_begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            text_end = text_begin + info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    dl_iterate_phdr(find_library, NULL);
}

static bool from_library(const void *caller)
{
    return (uintptr_t)caller - text_begin < text_end - text_begin;
}

/* Whether this call is the one that is to fail. */
static bool strikes(enum shim_kind kind, const void *caller)
{
    if (!atomic_load_explicit(&armed, memory_order_relaxed) || !from_library(caller))
        return false;
    unsigned long number = atomic_fetch_add(&seen[kind], 1) + 1;
    if (plan.kind != kind || number < plan.first || number >= plan.first + plan.count)
        return false;
    atomic_fetch_add(&struck, 1);
    return true;
}
#define STRIKES(kind) strikes(kind, __builtin_return_address(0))

/* The next definition, looked up once. */
#define NEXT(name) \
    static __typeof__(name) *next; \
    if (next == NULL) \
        next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

void shim_arm(const struct shim_plan *wanted)
{
    atomic_store(&armed, false);
    plan = *wanted;
    for (int kind = 0; kind < SHIM_KINDS; kind++)
        atomic_store(&seen[kind], 0);
    atomic_store(&struck, 0);
    atomic_store(&armed, true);
}

unsigned long shim_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&struck);
}

unsigned long shim_seen(enum shim_kind kind)
{
    return atomic_load(&seen[kind]);
}

static int failed(void)
{
    errno = plan.error;
    return -1;
}

/* Calls that fail by -1 and errno, and do nothing then. */
#define FAILING(kind, result, name, parameters, arguments) \
    result name parameters \
    { \
        NEXT(name); \
        return STRIKES(kind) ? failed() : next arguments; \
    }

FAILING(SHIM_SOCKET, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
FAILING(SHIM_EPOLL_CREATE, int, epoll_create1, (int flags), (flags))
FAILING(SHIM_EPOLL_CTL, int, epoll_ctl, (int set, int op, int fd, struct epoll_event *event), (set, op, fd, event))
FAILING(SHIM_EVENTFD, int, eventfd, (unsigned count, int flags), (count, flags))
FAILING(SHIM_TIMERFD_CREATE, int, timerfd_create, (clockid_t clock, int flags), (clock, flags))
FAILING(SHIM_TIMERFD_SETTIME, int, timerfd_settime,
        (int fd, int flags, const struct itimerspec *at, struct itimerspec *old), (fd, flags, at, old))
FAILING(SHIM_PPOLL, int, ppoll, (struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask),
        (fds, count, timeout, mask))
FAILING(SHIM_SETSOCKOPT, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t length),
        (fd, level, name, value, length))
FAILING(SHIM_GETSOCKOPT, int, getsockopt, (int fd, int level, int name, void *value, socklen_t *length),
        (fd, level, name, value, length))
FAILING(SHIM_GETNAME, int, getsockname, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
FAILING(SHIM_GETNAME, int, getpeername, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
FAILING(SHIM_SHUTDOWN, int, shutdown, (int fd, int how), (fd, how))
FAILING(SHIM_GETRANDOM, ssize_t, getrandom, (void *into, size_t length, unsigned flags), (into, length, flags))
FAILING(SHIM_FILE, ssize_t, readlink, (const char *path, char *into, size_t room), (path, into, room))

/* Nobody but the failing call itself takes the errors of a socket away: what it failed with is in the error. */
int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    NEXT(connect);
    return STRIKES(SHIM_CONNECT) ? failed() : next(fd, address, length);
}

/* SHIM_SHORT: one byte at most. SHIM_END: the end of the stream. A connection that failed stays so: its other calls
 * fail as well, as the peer is told. */
ssize_t recv(int fd, void *into, size_t room, int flags)
{
    NEXT(recv);
    if (!STRIKES(SHIM_RECV))
        return next(fd, into, room, flags);
    if (plan.error == SHIM_SHORT)
        return next(fd, into, room < 1 ? room : 1, flags);
    if (plan.error == SHIM_END) {
        shutdown(fd, SHUT_RDWR);
        return 0;
    }
    if (plan.error == ECONNRESET || plan.error == ETIMEDOUT)
        shutdown(fd, SHUT_RDWR);
    return failed();
}

ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    NEXT(send);
    if (!STRIKES(SHIM_SEND))
        return next(fd, bytes, length, flags);
    if (plan.error == SHIM_SHORT)
        return next(fd, bytes, length < 1 ? length : 1, flags);
    if (plan.error == ECONNRESET || plan.error == EPIPE)
        shutdown(fd, SHUT_RDWR);
    return failed();
}

ssize_t read(int fd, void *into, size_t room)
{
    NEXT(read);
    if (!STRIKES(SHIM_READ))
        return next(fd, into, room);
    return plan.error == SHIM_SHORT ? next(fd, into, room < 1 ? room : 1) : failed();
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    NEXT(readv);
    return STRIKES(SHIM_READ) ? failed() : next(fd, parts, count);
}

/* The library writes to its eventfds alone. That fails only where the counter is full, and then it is readable. */
ssize_t write(int fd, const void *bytes, size_t length)
{
    NEXT(write);
    if (!STRIKES(SHIM_WRITE))
        return next(fd, bytes, length);
    (void)!next(fd, bytes, length);
    return failed();
}

/* close(2): the descriptor is gone whatever is returned. */
int close(int fd)
{
    NEXT(close);
    int result = next(fd);
    return STRIKES(SHIM_CLOSE) ? failed() : result;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    NEXT(getaddrinfo);
    if (!STRIKES(SHIM_GETADDRINFO))
        return next(host, service, hints, out);
    if (plan.error > 0) {
        errno = plan.error;
        return EAI_SYSTEM;
    }
    return plan.error;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument)
{
    NEXT(pthread_create);
    return STRIKES(SHIM_THREAD) ? plan.error : next(thread, attributes, work, argument);
}

#define OPENING(name) \
    int name(const char *path, int flags, ...) \
    { \
        NEXT(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list list; \
            va_start(list, flags); \
            mode = va_arg(list, mode_t); \
            va_end(list); \
        } \
        return STRIKES(SHIM_OPEN) ? failed() : next(path, flags, mode); \
    }
OPENING(open)
OPENING(open64)

FAILING(SHIM_FILE, int, fstat64, (int fd, struct stat64 *into), (fd, into))
FAILING(SHIM_FILE, int, stat64, (const char *path, struct stat64 *into), (path, into))
FAILING(SHIM_FILE, int, statx, (int fd, const char *path, int flags, unsigned mask, struct statx *into),
        (fd, path, flags, mask, into))
FAILING(SHIM_FILE, off64_t, lseek64, (int fd, off64_t offset, int whence), (fd, offset, whence))

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset)
{
    NEXT(mmap64);
    if (!STRIKES(SHIM_MMAP))
        return next(at, length, protection, flags, fd, offset);
    errno = plan.error;
    return MAP_FAILED;
}

/* Sleeping on a futex ends early; getrandom and statx may also come this way. Waking never fails. */
long syscall(long number, ...)
{
    NEXT(syscall);
    const void *caller = __builtin_return_address(0);
    long a[6];
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    bool sleeps = number == SYS_futex && (a[1] & FUTEX_CMD_MASK) != FUTEX_WAKE;
    if ((sleeps && strikes(SHIM_FUTEX, caller)) || (number == SYS_getrandom && strikes(SHIM_GETRANDOM, caller)) ||
        (number == SYS_statx && strikes(SHIM_FILE, caller)))
        return failed();
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The blocks of the library by address, open addressing with tombstones: a block may be freed by the C library or by the
 * test program (a tail call), and is no leak then. */
enum { SLOTS = 1 << 18 };
static struct { void *block; size_t size; } blocks[SLOTS];
static size_t live;
static atomic_flag blocks_lock = ATOMIC_FLAG_INIT;
static void *const gone = (void *)1;

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static size_t slot_of(const void *block)
{
    return ((uintptr_t)block >> 4) * 11400714819323198485ull >> 46;
}

static void lock_blocks(void)
{
    while (atomic_flag_test_and_set_explicit(&blocks_lock, memory_order_acquire))
        ;
}

static void unlock_blocks(void)
{
    atomic_flag_clear_explicit(&blocks_lock, memory_order_release);
}

static void *remember(void *block, size_t size)
{
    if (block == NULL)
        return NULL;
    lock_blocks();
    size_t slot = slot_of(block);
    while (blocks[slot].block != NULL && blocks[slot].block != gone)
        slot = (slot + 1) % SLOTS;
    blocks[slot].block = block;
    blocks[slot].size = size;
    live++;
    unlock_blocks();
    return block;
}

static bool forget(const void *block)
{
    bool found = false;

    if (block == NULL)
        return false;
    lock_blocks();
    for (size_t slot = slot_of(block); blocks[slot].block != NULL; slot = (slot + 1) % SLOTS)
        if (blocks[slot].block == block) {
            /* Tombstones at the end of a chain are none: the table stays as sparse as what is live. */
            blocks[slot].block = gone;
            if (blocks[(slot + 1) % SLOTS].block == NULL)
                for (; blocks[slot].block == gone; slot = (slot + SLOTS - 1) % SLOTS)
                    blocks[slot].block = NULL;
            live--;
            found = true;
            break;
        }
    unlock_blocks();
    return found;
}

size_t shim_live_blocks(void)
{
    return live;
}

size_t shim_list_blocks(struct shim_block *into, size_t room)
{
    size_t count = 0;

    lock_blocks();
    for (size_t slot = 0; slot < SLOTS && count < room; slot++)
        if (blocks[slot].block != NULL && blocks[slot].block != gone)
            into[count++] = (struct shim_block){ blocks[slot].block, blocks[slot].size };
    unlock_blocks();
    return count;
}

static bool no_memory(const void *caller)
{
    if (!strikes(SHIM_ALLOCATION, caller))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    const void *caller = __builtin_return_address(0);

    if (!from_library(caller))
        return __libc_malloc(size);
    return no_memory(caller) ? NULL : remember(__libc_malloc(size), size);
}

void *calloc(size_t count, size_t size)
{
    const void *caller = __builtin_return_address(0);

    if (!from_library(caller))
        return __libc_calloc(count, size);
    return no_memory(caller) ? NULL : remember(__libc_calloc(count, size), count * size);
}

void *realloc(void *block, size_t size)
{
    const void *caller = __builtin_return_address(0);

    if (from_library(caller) && no_memory(caller))
        return NULL;
    bool theirs = forget(block);
    void *moved = __libc_realloc(block, size);
    return theirs || (block == NULL && from_library(caller)) ? remember(moved, size) : moved;
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    const void *caller = __builtin_return_address(0);

    if (no_memory(caller))
        return ENOMEM;
    void *block = __libc_memalign(alignment, size);
    if (block == NULL)
        return ENOMEM;
    *out = from_library(caller) ? remember(block, size) : block;
    return 0;
}

void free(void *block)
{
    forget(block);
    __libc_free(block);
}
