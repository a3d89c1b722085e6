/* SPDX-License-Identifier: MIT */
/* What a CMocka test must include before cmocka.h, in the order it wants. */
#ifndef PS_TESTS_CMOCKA_ALL_H
#define PS_TESTS_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
