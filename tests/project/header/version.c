/* Run against the library: header and library must be of one version, and the header usable as it stands. */
#include <stdio.h>
#include <string.h>

#include "redlock.h"

int main(void)
{
    redlock_t *rl = NULL;
    redlock_error_t *error = NULL;

    if (redlock_version_number() != REDLOCK_VERSION_NUMBER) {
        printf("header %d, library %u\n", REDLOCK_VERSION_NUMBER, (unsigned)redlock_version_number());
        return 1;
    }
    if (strcmp(redlock_version(), REDLOCK_VERSION_STRING) != 0) {
        printf("header %s, library %s\n", REDLOCK_VERSION_STRING, redlock_version());
        return 1;
    }
    if (redlock_new(NULL, 0, NULL, &rl, &error) != REDLOCK_E_INVALID || rl != NULL || error == NULL) {
        printf("no nodes: %s\n", redlock_error_message(error));
        return 1;
    }
    redlock_error_free(error);
    redlock_free(rl);
    return 0;
}
