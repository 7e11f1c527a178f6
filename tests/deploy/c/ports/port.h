/* What a test program needs of the machine that it runs on. A port defines it. */
#ifndef PORT_H
#define PORT_H
#include <stdint.h>

/* Writes text to the standard output. */
void port_text(const char *text);

/* The instructions that ran so far, rounded; 0 where the machine does not count them. */
uint64_t port_instructions(void);

#endif
