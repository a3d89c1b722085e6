/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C (Castagnoli), the checksum of every stored byte of a `.pgt`: it finds each damaged byte, each run of damage up to 32
 * bits, and misses a random one once in 2^32.
 */
#ifndef TRACE_CRC32C_H
#define TRACE_CRC32C_H

#include <pagesim/types.h>

/** Checksum of @n bytes, continuing from @crc (0 to begin). The check value of "123456789" is 0xe3069283. */
u32 trace_crc32c(u32 crc, const void *bytes, size_t n);

/** The same without the help of the processor, wherever it runs. */
u32 trace_crc32c_tables(u32 crc, const void *bytes, size_t n);

#endif
