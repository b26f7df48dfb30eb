/* The second translation unit: a header that defines anything fails when both are linked. */
#include "redlock.h"

int other_unit(redlock_status_t status);

int other_unit(redlock_status_t status)
{
    return status == REDLOCK_OK ? 0 : 1;
}
