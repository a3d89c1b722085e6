/* SPDX-License-Identifier: MIT */
/*
 * What single lines of lackey's text look like, for the importer and for telling forms of files apart.
 */
#ifndef TRACE_LACKEY_LINE_H
#define TRACE_LACKEY_LINE_H

#include <pagesim/trace.h>

/** Whether text that begins with these bytes is lackey's: valgrind's "==PID==", a memory line or a system call. */
bool lackey_looks_like(const char *text, size_t n);

/**
 * Reads one memory line ("I  04016b80,3", " S 1ffeffe7a0,8") that ends in a newline.
 * Return: behind the newline, or NULL when it is none; then nothing is set.
 */
const char *lackey_memory_line(const char *line, enum ps_access_kind *kind, u64 *address, u32 *size);

/** Reads "==PID== " or "--PID-- ". Return: behind it, or NULL. */
const char *lackey_prefix(const char *line, char mark, u32 *pid);

/** The longest access a line may name; lackey itself never goes beyond 512. */
#define LACKEY_SIZE_MAX 65536

#endif
