/* How the test program tells the preloaded shim which call of the library is to fail. */
#ifndef REDLOCK_TORTURE_SHIM_H
#define REDLOCK_TORTURE_SHIM_H

#include <stddef.h>

enum shim_kind {
    SHIM_SOCKET, SHIM_CONNECT, SHIM_RECV, SHIM_SEND, SHIM_SHUTDOWN, SHIM_SETSOCKOPT, SHIM_GETSOCKOPT, SHIM_GETNAME,
    SHIM_PPOLL, SHIM_EPOLL_CREATE, SHIM_EPOLL_CTL, SHIM_EVENTFD, SHIM_TIMERFD_CREATE, SHIM_TIMERFD_SETTIME, SHIM_READ,
    SHIM_WRITE, SHIM_CLOSE, SHIM_FUTEX, SHIM_GETADDRINFO, SHIM_THREAD, SHIM_OPEN, SHIM_FILE, SHIM_MMAP, SHIM_GETRANDOM,
    SHIM_ALLOCATION, SHIM_KINDS
};

/* In place of an errno: a read or write of one byte, the end of a stream. */
enum { SHIM_SHORT = 100000, SHIM_END };

struct shim_plan {
    enum shim_kind kind; /* SHIM_KINDS: none fails, calls are counted */
    unsigned long first; /* from 1 */
    unsigned long count; /* so many in a row */
    int error;           /* an errno, SHIM_SHORT, SHIM_END; of getaddrinfo also an EAI_ number, which is negative */
};

struct shim_block {
    const void *at;
    size_t size;
};

/* Begins to count, from 1. */
void shim_arm(const struct shim_plan *plan);
/* Every call works again; how many have failed. */
unsigned long shim_disarm(void);
/* How many calls of the kind there were since shim_arm(). */
unsigned long shim_seen(enum shim_kind kind);
/* How many blocks of the library are allocated. */
size_t shim_live_blocks(void);
size_t shim_list_blocks(struct shim_block *into, size_t room);

#endif
