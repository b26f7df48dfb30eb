/* Compiled as C and as C++, in several standards, with every warning an error. */
#include "redlock.h"
#include "redlock.h"

#if REDLOCK_VERSION_NUMBER != REDLOCK_VERSION_MAJOR * 1000000 + REDLOCK_VERSION_MINOR * 1000 + REDLOCK_VERSION_PATCH
#error "the numbers of the version disagree"
#endif

int other_unit(redlock_status_t status);
int first_unit(redlock_status_t status);

/* Status numbers are constants for the compiler: no two may be the same here. */
int first_unit(redlock_status_t status)
{
    switch (status) {
    case REDLOCK_OK:
    case REDLOCK_E_NOT_ACQUIRED:
    case REDLOCK_E_NO_QUORUM:
    case REDLOCK_E_LOST:
    case REDLOCK_E_CANCELLED:
    case REDLOCK_E_INTERRUPTED:
    case REDLOCK_E_INVALID:
    case REDLOCK_E_CONFIG:
    case REDLOCK_E_FORKED:
    case REDLOCK_E_UNKNOWN:
    case REDLOCK_E_CLOSED:
    case REDLOCK_E_INTERNAL:
        return 0;
    default:
        return 1;
    }
}

int main(void)
{
    return first_unit(REDLOCK_OK) + other_unit(REDLOCK_OK);
}
