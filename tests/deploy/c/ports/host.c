/* A process with a C library and a clock. */
#define _POSIX_C_SOURCE 199309L
#include "port.h"
#include <stdio.h>
#include <time.h>

void port_text(const char *text) {
    fputs(text, stdout);
}

uint64_t port_ticks(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}
