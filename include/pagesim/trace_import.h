/* SPDX-License-Identifier: MIT */
/*
 * Importers turn what other tools write into a trace. Each is a machine fed with bytes in whatever pieces they come (a
 * file, a pipe, a socket with one sender per process) that drives a ps_trace_writer; none needs more memory than the
 * program it follows has mappings and open files.
 *
 * lackey. `valgrind --tool=lackey --trace-mem=yes --trace-syscalls=yes` prints a line per instruction and per access, and
 * the system calls between them. With `--trace-sched=yes` it also says which thread runs. What it never says is
 * what was mapped before the program's first instruction; that is concluded from the accesses (PS_MAP_INFERRED).
 *
 * Names in this file:
 *   struct ps_lackey           the importer
 *   stream                     one sequence of lackey text: a log file, or what one process sent
 *
 * Layer: trace
 */
#ifndef PAGESIM_TRACE_IMPORT_H
#define PAGESIM_TRACE_IMPORT_H

#include <pagesim/trace_file.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_lackey;
struct ps_lackey_stream;

/** All-zero is the default. */
struct ps_lackey_settings {
	bool fetches;        /* record instruction fetches as accesses too */
	const char *command; /* the recorded command line, if the caller knows; NULL = what the text says. Copied */
};

/** What was in the text, counted line by line. Page-crossing lines count once here and are also in crossings. */
struct ps_lackey_counts {
	u64 lines;
	u64 loads;
	u64 stores;
	u64 modifies;
	u64 fetches;
	u64 load_crossings; /* loads that touch two pages: each is two accesses in the trace */
	u64 store_crossings;
	u64 modify_crossings;
	u64 fetch_crossings;
	u64 syscalls;
	u64 other_lines; /* valgrind's own messages */
};

/**
 * @writer is borrowed; the importer adds its totals to it when finished.
 * Return: the importer, freed by ps_lackey_free(), or NULL without memory.
 */
struct ps_lackey *ps_lackey_new(struct ps_trace_writer *writer, const struct ps_lackey_settings *settings);

/**
 * A new stream, called @name in messages.
 * @pid: the process all of it comes from, when the carrier knows (a socket's credentials); 0: go by what the text says.
 * Return: the stream, the importer's, or NULL without memory.
 */
struct ps_lackey_stream *ps_lackey_stream_new(struct ps_lackey *lackey, const char *name, u32 pid);

/**
 * Takes @n bytes of the stream's text; pieces may end anywhere.
 * Return: true, or false with @error set (FILE:LINE: ...); lines before the bad one count, nothing after it is taken. Out of
 * memory is such an error.
 */
bool ps_lackey_feed(struct ps_lackey_stream *stream, const char *bytes, size_t n, GError **error);

/** The stream ends. Return: false with @error set when it ends inside a line. */
bool ps_lackey_stream_end(struct ps_lackey_stream *stream, GError **error);

/** Instructions fetched by this stream so far: what several files are merged by. */
u64 ps_lackey_stream_clock(const struct ps_lackey_stream *stream);

/** Adds the totals to the writer. Call when all streams have ended (or failed). */
void ps_lackey_finish(struct ps_lackey *lackey);

const struct ps_lackey_counts *ps_lackey_counts(const struct ps_lackey *lackey);

/** The recorded command line, "" until the text has said it. */
const char *ps_lackey_command(const struct ps_lackey *lackey);

/** Frees the importer and its streams. NULL is fine. */
void ps_lackey_free(struct ps_lackey *lackey);

/**
 * Imports several log files of one run (`--log-file=F.%p`), or one, or a pipe: processes are merged by their instruction counts,
 * a child beginning where its parent forked it.
 * Return: true, or false with @error set; what came before the error is in the writer.
 */
bool ps_lackey_import(struct ps_lackey *lackey, char *const *paths, size_t n, GError **error);

#ifdef __cplusplus
}
#endif
#endif
