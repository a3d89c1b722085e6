/* SPDX-License-Identifier: MIT */
/*
 * Recording a program: valgrind runs it, its text goes straight into the lackey importer, and only the trace is kept. All processes of the
 * program write into one socket, and the kernel tells with every line which process wrote it; so forked children, whose
 * lines look like their parent's, are told apart, and nothing goes through a file.
 *
 * Layer: trace
 */
#ifndef PAGESIM_TRACE_RECORD_H
#define PAGESIM_TRACE_RECORD_H

#include <pagesim/trace_import.h>

#ifdef __cplusplus
extern "C" {
#endif

/** All-zero is the default, but for argv. */
struct ps_record_settings {
	char *const *argv;    /* the program and its arguments, ended by NULL */
	const char *valgrind; /* what to run; NULL = "valgrind", searched for in PATH */
	/* Called about every @progress_ms (0 = 500) with what was imported so far; NULL = never. */
	void (*progress)(void *arg, const struct ps_lackey_counts *counts);
	void *arg;
	u32 progress_ms;
};

/**
 * Runs the program to its end, and until every process it left behind has ended, and imports what it does. Its standard input, output and
 * error are the caller's.
 * @ret_status: exit status of the program; 128 + N when signal N ended it. Set when true is returned.
 * Context: creates a process and waits for it.
 * Return: true; false with @error set when valgrind cannot be run or what it says cannot be understood (the program is
 * then stopped).
 */
bool ps_record(struct ps_lackey *lackey, const struct ps_record_settings *settings, int *ret_status, GError **error);

#ifdef __cplusplus
}
#endif
#endif
