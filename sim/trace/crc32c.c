/* SPDX-License-Identifier: MIT */
/*
 * Where the processor has an instruction for it, that one, eight bytes at a time. Elsewhere
 * eight bytes a step with eight tables ("slicing by 8"): table k answers what a byte does to the checksum when k more
 * bytes follow it.
 *
 * Source: M. Kounavis, F. Berry, "A systematic approach to building high performance software-based CRC generators", 2005.
 */
#include "trace/crc32c.h"

#include <glib.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41 with its bits reversed */

static u32 table[8][256];

static void fill_table(void)
{
	for (u32 i = 0; i < 256; i++) {
		u32 c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		table[0][i] = c;
	}
	for (u32 i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

u32 trace_crc32c_tables(u32 crc, const void *bytes, size_t n)
{
	static gsize filled;
	const u8 *p = bytes;

	if (g_once_init_enter(&filled)) {
		fill_table();
		g_once_init_leave(&filled, 1);
	}
	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		u32 lo, hi;

		memcpy(&lo, p, 4);
		memcpy(&hi, p + 4, 4);
		lo = GUINT32_FROM_LE(lo) ^ crc;
		hi = GUINT32_FROM_LE(hi);
		crc = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^ table[5][lo >> 16 & 0xff] ^ table[4][lo >> 24] ^
		      table[3][hi & 0xff] ^ table[2][hi >> 8 & 0xff] ^ table[1][hi >> 16 & 0xff] ^ table[0][hi >> 24];
	}
	while (n--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
	return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static u32 crc32c_instruction(u32 crc, const u8 *p, size_t n)
{
	u64 c = ~crc;

	for (; n >= 8; n -= 8, p += 8) {
		u64 v;

		memcpy(&v, p, 8);
		c = __builtin_ia32_crc32di(c, v);
	}
	while (n--)
		c = __builtin_ia32_crc32qi((u32)c, *p++);
	return ~(u32)c;
}
#endif

u32 trace_crc32c(u32 crc, const void *bytes, size_t n)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_instruction(crc, bytes, n);
#endif
	return trace_crc32c_tables(crc, bytes, n);
}
