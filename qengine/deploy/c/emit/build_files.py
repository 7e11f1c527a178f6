"""Makefile and CMakeLists.txt: the library, the self-test and the trace."""

from __future__ import annotations

from collections.abc import Sequence

from qengine.deploy.c.emit.stamp import Stamp
from qengine.deploy.c.emit.templates import filled

_MAKEFILE = """#
#   make                         lib@name@.a for this machine
#   make CROSS=arm-none-eabi- CFLAGS="-mcpu=cortex-m4 -mthumb -O2"
#   make SMALL=1                 one body of each kernel: slower, and less code
#   make check                   compare known answers; RUN=qemu-s390x for a machine that is emulated
#   make trace                   @name@.trace: every tensor of the known answer, for `qengine compare`
CROSS ?=
RUN ?=
CFLAGS ?= -O3
ifeq ($(origin CC),default)
CC = $(if $(CROSS),$(CROSS)gcc,cc)
endif
ifeq ($(origin AR),default)
AR = $(CROSS)ar
endif
FLAGS = -std=c99 -Wall -Wextra $(if $(SMALL),-DNET_SMALL) $(CFLAGS)

lib@name@.a: @objects@
\t$(AR) rcs $@ $^

%.o: %.c @headers@
\t$(CC) $(FLAGS) -c $< -o $@

@name@_check: @sources@ @name@_check.c @headers@
\t$(CC) $(FLAGS) -DNET_TRACE @sources@ @name@_check.c -o $@

check: @name@_check
\t$(RUN) ./@name@_check

trace: @name@_check
\t$(RUN) ./@name@_check --trace > @name@.trace

clean:
\trm -f lib@name@.a @objects@ @name@_check @name@.trace

.PHONY: check trace clean
"""

_CMAKE = """cmake_minimum_required(VERSION 3.10)
project(@name@ C)

option(NET_SMALL "One body of each kernel: slower, and less code" OFF)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_library(@name@ STATIC @sources@)
target_include_directories(@name@ PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
set_target_properties(@name@ PROPERTIES C_STANDARD 99)

# Known answers: ctest, or @name@_check by itself.
add_executable(@name@_check EXCLUDE_FROM_ALL @sources@ @name@_check.c)
target_compile_definitions(@name@_check PRIVATE NET_TRACE)
set_target_properties(@name@_check PROPERTIES C_STANDARD 99)
if(NET_SMALL)
  target_compile_definitions(@name@ PRIVATE NET_SMALL)
  target_compile_definitions(@name@_check PRIVATE NET_SMALL)
endif()

enable_testing()
if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  set_target_properties(@name@_check PROPERTIES EXCLUDE_FROM_ALL OFF)
  add_test(NAME @name@_check COMMAND @name@_check)
endif()
"""


def makefile(name: str, stamp: Stamp, files: Sequence[str]) -> str:
    """Return the text of the Makefile for the files of a network."""
    return stamp.hashed() + _filled(_MAKEFILE, name, files)


def cmake_lists(name: str, stamp: Stamp, files: Sequence[str]) -> str:
    """Return the text of CMakeLists.txt for the files of a network."""
    return stamp.hashed() + _filled(_CMAKE, name, files)


def sources_of(name: str, files: Sequence[str]) -> list[str]:
    """Return the files that are compiled into a program that runs the network."""
    return [one for one in files if one.endswith(".c") and one != f"{name}_check.c"]


def _filled(template: str, name: str, files: Sequence[str]) -> str:
    sources = sources_of(name, files)
    return filled(
        template.replace("-DNET_", f"-D{name.upper()}_"),
        name,
        name=name,
        sources=" ".join(sources),
        objects=" ".join(one.replace(".c", ".o") for one in sources),
        headers=" ".join(one for one in files if one.endswith(".h")),
    )
