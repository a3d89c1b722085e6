/* SPDX-License-Identifier: MIT */
/*
 * Scanners of single lines. A memory line is read by the character with no look-ahead beyond its newline: no digit is a newline, so
 * every loop ends there at the latest.
 */
#include "trace/lackey_line.h"

#include <string.h>

/* Value of a lower-case hexadecimal digit, 16 for everything else. */
static const u8 hex[256] = {
#define X16 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16
	X16, X16, X16, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  16, 16,  16,  16,  16,  16,  X16, X16, 16,  10,
	11,  12,  13,  14, 15, 16, 16, 16, 16, 16, 16, 16, 16, 16, X16, X16, X16, X16, X16, X16, X16, X16, X16,
#undef X16
};

const char *lackey_memory_line(const char *line, enum ps_access_kind *kind, u64 *address, u32 *size)
{
	const u8 *p = (const u8 *)line;
	enum ps_access_kind k;
	u64 a = 0;
	u32 s = 0;

	if (p[0] == 'I' && p[1] == ' ')
		k = PS_ACCESS_FETCH;
	else if (p[0] != ' ')
		return NULL;
	else if (p[1] == 'L')
		k = PS_ACCESS_READ;
	else if (p[1] == 'S')
		k = PS_ACCESS_WRITE;
	else if (p[1] == 'M')
		k = PS_ACCESS_MODIFY;
	else
		return NULL;
	if (p[2] != ' ' || p[3] == ',')
		return NULL;
	for (p += 3; hex[*p] < 16; p++) {
		if (a >> 60)
			return NULL;
		a = a << 4 | hex[*p];
	}
	if (*p++ != ',')
		return NULL;
	for (; *p >= '0' && *p <= '9'; p++) {
		s = s * 10 + (*p - '0');
		if (s > LACKEY_SIZE_MAX)
			return NULL;
	}
	if (*p != '\n' || !s || a + s - 1 < a)
		return NULL;
	*kind = k;
	*address = a;
	*size = s;
	return (const char *)p + 1;
}

const char *lackey_prefix(const char *line, char mark, u32 *pid)
{
	const char *p = line;
	u64 v = 0;

	if (p[0] != mark || p[1] != mark)
		return NULL;
	for (p += 2; *p >= '0' && *p <= '9' && v < 1u << 31; p++)
		v = v * 10 + (u32)(*p - '0');
	if (p == line + 2 || p[0] != mark || p[1] != mark || v >= 1u << 31)
		return NULL;
	*pid = (u32)v;
	p += 2;
	return *p == ' ' ? p + 1 : p;
}

bool lackey_looks_like(const char *text, size_t n)
{
	char line[128];
	const char *newline = memchr(text, '\n', n);
	size_t length = newline ? (size_t)(newline - text) + 1 : n;
	enum ps_access_kind kind;
	u64 address;
	u32 size;

	if (length > sizeof(line) - 2)
		length = sizeof(line) - 2;
	memcpy(line, text, length);
	line[length] = 0;
	if (lackey_prefix(line, '=', &size) || lackey_prefix(line, '-', &size) || !strncmp(line, "SYSCALL[", 8))
		return true;
	if (!newline) {
		line[length] = '\n';
		line[length + 1] = 0;
	}
	return lackey_memory_line(line, &kind, &address, &size) != NULL;
}
