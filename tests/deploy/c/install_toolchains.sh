#!/bin/sh
# Installs what the tests of the C export compile and run with, on Debian 12 or later, as root. Each test skips by name
# what is not there. gcc-multilib conflicts with the cross compilers; its parts do not.
set -eu
apt-get update
exec apt-get install --no-install-recommends -y \
    gcc g++ libc6-dev lib32gcc-12-dev libc6-dev-i386 clang libclang-rt-14-dev tcc cppcheck valgrind \
    gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static \
    gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm \
    gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc \
    gcc-avr avr-libc simavr
