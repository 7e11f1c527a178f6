/* What a test program needs of the machine that it runs on. A port defines it. */
#ifndef PORT_H
#define PORT_H
#include <stdint.h>

/* Writes text to the standard output. */
void port_text(const char *text);

/* The instructions that ran so far where a simulator counts them, else nanoseconds, or 0 on a machine without a clock. */
uint64_t port_ticks(void);

#endif
