/* The start of a Cortex-M: its vectors, memory before main(), and the words of the command line by semihosting, the
 * calls of a debugger that QEMU answers. On a board of yours, take the startup file of its maker. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern uint32_t data_source[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];
int main(int count, char **words);
void initialise_monitor_handles(void); /* newlib: printf and files by semihosting */
void reset(void);

static void fault(void) {
    abort();
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};

static char line[256];
static char *words[16];

static int command_line(void) {
    struct {
        char *text;
        uint32_t size;
    } block = {line, sizeof line};
    int count = 0;
    register uint32_t r0 __asm__("r0") = 0x15; /* SYS_GET_CMDLINE */
    register void *r1 __asm__("r1") = &block;
    char *c;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    for (c = line; r0 == 0 && *c != 0 && count < 15;) {
        words[count++] = c;
        while (*c != 0 && *c != ' ') {
            c++;
        }
        while (*c == ' ') {
            *c++ = 0;
        }
    }
    return count;
}

void reset(void) {
    uint32_t *to, *from = data_source;
    int count;
    for (to = data_start; to < data_end;) {
        *to++ = *from++;
    }
    for (to = bss_start; to < bss_end;) {
        *to++ = 0;
    }
    initialise_monitor_handles();
    count = main(command_line(), words);
    (void)fflush(NULL);
    _exit(count);
}
