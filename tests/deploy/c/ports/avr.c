/* An AVR under simavr: the console is its serial port. */
#include "port.h"
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

void port_text(const char *text) {
    UCSR0B |= 1 << TXEN0;
    for (; *text != 0; text++) {
        while (!(UCSR0A & (1 << UDRE0))) {
        }
        UDR0 = (uint8_t)*text;
    }
}

uint64_t port_ticks(void) {
    return 0;
}

#undef main
int port_main(void);

/* The simulator ends where an AVR sleeps without interrupts. */
int main(void) {
    port_main();
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}
